//! The table of directives.
//!
//! Parsing, the command line, CONFIG GET, SET and REWRITE, the example configuration and
//! `docs/config.md` all derive from these rows. To add a directive, add a row; when its feature is
//! complete, set the row's status to [`Status::Implemented`].
//!
//! Names and defaults are those of Redis 7.2, with the newer names of Valkey 8.1 as aliases and its
//! additional directives marked [`VALKEY`] and our own marked [`RUSSET`]. Directives without a value (`include`,
//! `rename-command`, …) are in `file_only.rs`.

use super::apply::{Apply, Hook, ShellStep, append_only, listen, log_to, shell, text};
use super::check;
use super::password::Password;
use super::value::Kind::{
    self, Bool, Enum, Int, Memory, MemoryOrPercent as SizeOrPercent, Octal, OptionalText, Text,
    Word, Words,
};
use super::value::*;
use super::words::*;
use crate::io::Request;

/// May be changed by CONFIG SET.
pub const MODIFIABLE: u16 = 0;
/// Can only be set at the start.
pub const IMMUTABLE: u16 = 1 << 0;
/// CONFIG GET shows it only by its exact name.
pub const HIDDEN: u16 = 1 << 1;
/// Its value is not logged.
pub const SENSITIVE: u16 = 1 << 2;
/// CONFIG SET needs `enable-protected-configs`.
pub const PROTECTED: u16 = 1 << 3;
/// CONFIG SET is refused while a dataset is being loaded.
pub const DENY_LOADING: u16 = 1 << 4;
/// Redis 7.2 doesn't have it; Valkey 8.1 does.
pub const VALKEY: u16 = 1 << 5;
/// Only Russet has it.
pub const RUSSET: u16 = 1 << 6;

/// Whether a directive is implemented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is implemented, or its behaviour is always on.
    Implemented,
    /// It is not implemented yet; any value is accepted with a warning.
    NotImplemented(Impact),
    /// It is not implemented yet, and ignoring it would be dangerous: only its default is accepted.
    /// The text says what would happen otherwise.
    Refused(Impact, &'static str),
    /// It has no meaning without this unimplemented directive, which is only accepted at its
    /// default. Any value is accepted, since it is common in configuration files.
    Without(&'static str),
    /// Its feature is always off; any value is accepted.
    Off,
}

impl Status {
    /// Whether only the default is accepted.
    pub fn is_refused(self) -> bool {
        matches!(self, Status::Refused(..))
    }
}

/// What ignoring a directive would affect; decides how it is treated while it is not implemented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Impact {
    /// Durability and consistency.
    Durability,
    /// Resource limits.
    Limits,
    /// Access control and privacy.
    Access,
    /// Speed or memory.
    Performance,
    /// Logs and metrics.
    Observability,
}

/// Sets a value from words.
type Assign = fn(&mut Config, &[&[u8]], Origin) -> Result<(), Refusal>;

/// One directive.
pub struct Directive {
    /// Its name, in lower case.
    pub name: &'static str,
    /// Older and newer names.
    pub aliases: &'static [&'static str],
    /// The heading under which it is documented.
    pub section: &'static str,
    /// How its value is parsed.
    pub kind: Kind,
    /// Its default, as written in a configuration file; empty means one empty word.
    pub default: &'static str,
    /// Constants of this module, such as [`IMMUTABLE`].
    pub flags: u16,
    /// Whether it is implemented.
    pub status: Status,
    /// How a change is applied.
    pub apply: Apply,
    /// What it does.
    doc: &'static str,
    pub(super) assign: Assign,
    pub(super) copy: fn(&mut Config, &Config),
    pub(super) same: fn(&Config, &Config) -> bool,
    pub(super) text: fn(&Config) -> Vec<u8>,
    pub(super) lines: fn(&Config, &Config) -> Vec<Line>,
}

impl Directive {
    /// Whether the row has this flag.
    pub fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Returns its description.
    pub fn doc(&self) -> String {
        self.doc.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Returns its default as written in a configuration file.
    pub fn default_in_file(&self) -> &'static str {
        if self.default.is_empty() { "\"\"" } else { self.default }
    }

    /// Iterates over its name and aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

impl PartialEq for Directive {
    fn eq(&self, other: &Directive) -> bool {
        self.name == other.name
    }
}

impl std::fmt::Debug for Directive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! directives {
    ($(section $section:literal {
        $(
            $(#[doc = $doc:literal])+
            $name:literal [$($alias:literal),*] $field:ident: $type:ty = $default:literal,
            $kind:expr, $flags:expr, $status:expr, $apply:expr;
        )+
    })+) => {
        /// All settings, typed. [`Config::default`] returns Redis' defaults.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Config {
            $($($(#[doc = $doc])+ pub $field: $type,)+)+
        }

        impl Config {
            /// Returns a value to assign the defaults to.
            pub(super) fn blank() -> Config {
                Config { $($($field: <$type>::default(),)+)+ }
            }
        }

        /// All directives, in the order of the documentation.
        pub static DIRECTIVES: &[Directive] = &[$($(Directive {
            name: $name,
            aliases: &[$($alias),*],
            section: $section,
            kind: $kind,
            default: $default,
            flags: $flags,
            status: $status,
            apply: $apply,
            doc: concat!($($doc),+),
            assign: |config, words, origin| config.$field.assign(&$kind, words, origin),
            copy: |config, from| config.$field.clone_from(&from.$field),
            same: |config, other| config.$field == other.$field,
            text: |config| config.$field.text(&$kind),
            lines: |config, default| config.$field.lines(&$kind, &default.$field),
        },)+)+];
    };
}

const IMPLEMENTED: Status = Status::Implemented;
const PERFORMANCE: Status = Status::NotImplemented(Impact::Performance);
const OBSERVABILITY: Status = Status::NotImplemented(Impact::Observability);
const WITHOUT_TLS: Status = Status::Without("tls-port");
const WITHOUT_USERS: Status = Status::Without("aclfile");
const OFF: Status = Status::Off;
const NONE: Apply = Apply::None;

const fn durability(loss: &'static str) -> Status {
    Status::Refused(Impact::Durability, loss)
}

const fn limits(loss: &'static str) -> Status {
    Status::Refused(Impact::Limits, loss)
}

const fn access(loss: &'static str) -> Status {
    Status::Refused(Impact::Access, loss)
}

/// Maximum of a C `int`.
const INT: i64 = i32::MAX as i64;
/// Maximum of a C `unsigned int`.
const UINT: i64 = u32::MAX as i64;
/// Maximum of a C `long`.
const LONG: i64 = i64::MAX;
/// Maximum of a C `long` as a size.
const LONG_SIZE: u64 = i64::MAX as u64;

directives! {
section "Network" {
    /// Addresses to listen on. One that begins with `-` may be unavailable; `*` and `::*` are all
    /// addresses of IPv4 and IPv6, and an empty list disables TCP.
    "bind" [] bind: BindList = "* -::*", Words("addresses"), MODIFIABLE, IMPLEMENTED, listen("Failed to bind to specified addresses.");
    /// Source address of outgoing connections, for example to a master.
    "bind-source-addr" [] bind_source_addr: Vec<u8> = "", OptionalText(check::any), MODIFIABLE, access("outgoing connections would come from any address of this machine"), NONE;
    /// TCP port to listen on; 0 disables TCP.
    "port" [] port: u16 = "6379", Int(0, 65535), MODIFIABLE, IMPLEMENTED, listen("Unable to listen on this port. Check server logs.");
    /// Path of a Unix socket to listen on.
    "unixsocket" [] unixsocket: Vec<u8> = "", OptionalText(check::path), IMMUTABLE, IMPLEMENTED, NONE;
    /// Permissions of the Unix socket; 0 leaves them to the umask.
    "unixsocketperm" [] unixsocketperm: u32 = "0", Octal(0o777), IMMUTABLE, IMPLEMENTED, NONE;
    /// Group that owns the Unix socket.
    "unixsocketgroup" [] unixsocketgroup: Vec<u8> = "", OptionalText(check::any), IMMUTABLE | VALKEY, access("the members of the group could not connect to the socket"), NONE;
    /// Accept only local clients while the default user has no password.
    "protected-mode" [] protected_mode: bool = "yes", Bool, MODIFIABLE, IMPLEMENTED, NONE;
    /// Maximum number of pending connections of a listening socket.
    "tcp-backlog" [] tcp_backlog: i32 = "511", Int(0, INT), IMMUTABLE, IMPLEMENTED, NONE;
    /// Idle seconds after which TCP keepalive probes are sent; 0 disables them.
    "tcp-keepalive" [] tcp_keepalive: u32 = "300", Int(0, INT), MODIFIABLE, IMPLEMENTED, shell(|config| Request::KeepAlive(config.tcp_keepalive));
    /// Seconds after which an idle client is disconnected; 0 disables the timeout.
    "timeout" [] timeout: u32 = "0", Int(0, INT), MODIFIABLE, IMPLEMENTED, NONE;
    /// Mark set on the server's packets, for routing and filtering.
    "socket-mark-id" [] socket_mark_id: u32 = "0", Int(0, UINT), IMMUTABLE, access("packets would not be marked for routing and filtering"), NONE;
    /// Connections accepted in one cycle of the event loop.
    "max-new-connections-per-cycle" [] max_new_connections_per_cycle: u32 = "10", Int(1, 1000), MODIFIABLE | VALKEY, PERFORMANCE, NONE;
    /// TLS connections accepted in one cycle of the event loop.
    "max-new-tls-connections-per-cycle" [] max_new_tls_connections_per_cycle: u32 = "1", Int(1, 1000), MODIFIABLE | VALKEY, PERFORMANCE, NONE;
    /// Port for RDMA; 0 disables it.
    "rdma-port" [] rdma_port: u16 = "0", Int(0, 65535), IMMUTABLE | VALKEY, access("nothing would listen for RDMA"), NONE;
    /// Addresses to listen on for RDMA.
    "rdma-bind" [] rdma_bind: Vec<u8> = "", OptionalText(check::any), IMMUTABLE | VALKEY, access("nothing would listen for RDMA"), NONE;
    /// Size of the receive buffer of an RDMA connection.
    "rdma-rx-size" [] rdma_rx_size: u64 = "1mb", Memory(64 << 10, 16 << 20), IMMUTABLE | VALKEY, PERFORMANCE, NONE;
    /// Completion vector of RDMA; -1 picks one.
    "rdma-completion-vector" [] rdma_completion_vector: i32 = "-1", Int(-1, 1024), IMMUTABLE | VALKEY, PERFORMANCE, NONE;
}
section "TLS" {
    /// TCP port for TLS; 0 disables it.
    "tls-port" [] tls_port: u16 = "0", Int(0, 65535), MODIFIABLE, access("nothing would listen for TLS, and clients could only connect without encryption"), NONE;
    /// File of the server's certificate.
    "tls-cert-file" [] tls_cert_file: Vec<u8> = "", OptionalText(check::any), MODIFIABLE, WITHOUT_TLS, NONE;
    /// File of the server's private key.
    "tls-key-file" [] tls_key_file: Vec<u8> = "", OptionalText(check::any), MODIFIABLE, WITHOUT_TLS, NONE;
    /// Password of the server's private key.
    "tls-key-file-pass" [] tls_key_file_pass: Secret = "", OptionalText(check::any), MODIFIABLE | SENSITIVE, WITHOUT_TLS, NONE;
    /// File of the certificate for connections to a master or another node.
    "tls-client-cert-file" [] tls_client_cert_file: Vec<u8> = "", OptionalText(check::any), MODIFIABLE, WITHOUT_TLS, NONE;
    /// File of the private key of that certificate.
    "tls-client-key-file" [] tls_client_key_file: Vec<u8> = "", OptionalText(check::any), MODIFIABLE, WITHOUT_TLS, NONE;
    /// Password of that private key.
    "tls-client-key-file-pass" [] tls_client_key_file_pass: Secret = "", OptionalText(check::any), MODIFIABLE | SENSITIVE, WITHOUT_TLS, NONE;
    /// File of Diffie-Hellman parameters.
    "tls-dh-params-file" [] tls_dh_params_file: Vec<u8> = "", OptionalText(check::any), MODIFIABLE, WITHOUT_TLS, NONE;
    /// File of the CA certificates that verify clients.
    "tls-ca-cert-file" [] tls_ca_cert_file: Vec<u8> = "", OptionalText(check::any), MODIFIABLE, WITHOUT_TLS, NONE;
    /// Directory of the CA certificates that verify clients.
    "tls-ca-cert-dir" [] tls_ca_cert_dir: Vec<u8> = "", OptionalText(check::any), MODIFIABLE, WITHOUT_TLS, NONE;
    /// Whether clients must present a certificate.
    "tls-auth-clients" [] tls_auth_clients: TlsAuthClients = "yes", Enum(TlsAuthClients::NAMES), MODIFIABLE, WITHOUT_TLS, NONE;
    /// Use TLS for the link to the master.
    "tls-replication" [] tls_replication: bool = "no", Bool, MODIFIABLE, access("the link to the master would not be encrypted"), NONE;
    /// Use TLS between cluster nodes.
    "tls-cluster" [] tls_cluster: bool = "no", Bool, MODIFIABLE, access("the bus of the cluster would not be encrypted"), NONE;
    /// Supported versions of TLS.
    "tls-protocols" [] tls_protocols: Vec<u8> = "", OptionalText(check::any), MODIFIABLE, WITHOUT_TLS, NONE;
    /// Ciphers for TLS up to 1.2.
    "tls-ciphers" [] tls_ciphers: Vec<u8> = "", OptionalText(check::any), MODIFIABLE, WITHOUT_TLS, NONE;
    /// Cipher suites for TLS 1.3.
    "tls-ciphersuites" [] tls_ciphersuites: Vec<u8> = "", OptionalText(check::any), MODIFIABLE, WITHOUT_TLS, NONE;
    /// Prefer the server's order of ciphers.
    "tls-prefer-server-ciphers" [] tls_prefer_server_ciphers: bool = "no", Bool, MODIFIABLE, WITHOUT_TLS, NONE;
    /// Cache TLS sessions, so that clients reconnect faster.
    "tls-session-caching" [] tls_session_caching: bool = "yes", Bool, MODIFIABLE, WITHOUT_TLS, NONE;
    /// Maximum number of cached TLS sessions; 0 sets no limit.
    "tls-session-cache-size" [] tls_session_cache_size: u32 = "20480", Int(0, INT), MODIFIABLE, WITHOUT_TLS, NONE;
    /// Seconds after which a cached TLS session expires.
    "tls-session-cache-timeout" [] tls_session_cache_timeout: u32 = "300", Int(0, INT), MODIFIABLE, WITHOUT_TLS, NONE;
}
section "General" {
    /// Detach from the terminal and run in the background.
    "daemonize" [] daemonize: bool = "no", Bool, IMMUTABLE, IMPLEMENTED, NONE;
    /// File that holds the process id while the server runs.
    "pidfile" [] pidfile: Vec<u8> = "", OptionalText(check::path), IMMUTABLE, IMPLEMENTED, NONE;
    /// The supervisor that is notified of readiness.
    "supervised" [] supervised: Supervised = "no", Enum(Supervised::NAMES), IMMUTABLE, IMPLEMENTED, NONE;
    /// Minimum level of log lines.
    "loglevel" [] loglevel: LogLevel = "notice", Enum(LogLevel::NAMES), MODIFIABLE, IMPLEMENTED, shell(log_to);
    /// File that log lines are appended to; empty is standard output.
    "logfile" [] logfile: Vec<u8> = "", Text(check::path), IMMUTABLE, IMPLEMENTED, NONE;
    /// Format of log lines.
    "log-format" [] log_format: LogFormat = "legacy", Enum(LogFormat::NAMES), MODIFIABLE | VALKEY, OBSERVABILITY, NONE;
    /// Format of timestamps in log lines.
    "log-timestamp-format" [] log_timestamp_format: LogTimestampFormat = "legacy", Enum(LogTimestampFormat::NAMES), MODIFIABLE | VALKEY, OBSERVABILITY, NONE;
    /// Also log to syslog.
    "syslog-enabled" [] syslog_enabled: bool = "no", Bool, IMMUTABLE, OBSERVABILITY, NONE;
    /// Identity in syslog.
    "syslog-ident" [] syslog_ident: Vec<u8> = "redis", Text(check::any), IMMUTABLE, OBSERVABILITY, NONE;
    /// Facility in syslog.
    "syslog-facility" [] syslog_facility: SyslogFacility = "local0", Enum(SyslogFacility::NAMES), IMMUTABLE, OBSERVABILITY, NONE;
    /// Hide user data in log lines and crash reports. Always on.
    "hide-user-data-from-log" [] hide_user_data_from_log: bool = "yes", Bool, MODIFIABLE | VALKEY, OBSERVABILITY, NONE;
    /// Log a report on a crash.
    "crash-log-enabled" [] crash_log_enabled: bool = "yes", Bool, MODIFIABLE, OBSERVABILITY, NONE;
    /// Test memory after a crash.
    "crash-memcheck-enabled" [] crash_memcheck_enabled: bool = "yes", Bool, MODIFIABLE, OFF, NONE;
    /// Number of databases.
    "databases" [] databases: u32 = "16", Int(1, INT), IMMUTABLE, IMPLEMENTED, NONE;
    /// Show the logo at the start even if the log is not a terminal.
    "always-show-logo" [] always_show_logo: bool = "no", Bool, IMMUTABLE, IMPLEMENTED, NONE;
    /// Show the state of the server in the process title.
    "set-proc-title" [] set_proc_title: bool = "yes", Bool, IMMUTABLE, OFF, NONE;
    /// Template of the process title, with `{title}`, `{listen-addr}`, `{server-mode}`, `{port}`,
    /// `{tls-port}`, `{unixsocket}` and `{config-file}` filled in.
    "proc-title-template" [] proc_title_template: Vec<u8> = "\"{title} {listen-addr} {server-mode}\"", Text(check::title_template), MODIFIABLE, OBSERVABILITY, NONE;
    /// Locale of string comparisons in SORT and scripts.
    "locale-collate" [] locale_collate: Vec<u8> = "", Text(check::any), MODIFIABLE, PERFORMANCE, NONE;
    /// Startup warnings that do not abort the start.
    "ignore-warnings" [] ignore_warnings: Vec<u8> = "", Text(check::any), MODIFIABLE, OBSERVABILITY, NONE;
    /// Availability zone that the node reports to clients.
    "availability-zone" [] availability_zone: Vec<u8> = "", Text(check::any), MODIFIABLE | VALKEY, OBSERVABILITY, NONE;
    /// Use the name Redis in replies. Always on.
    "extended-redis-compatibility" [] extended_redis_compatibility: bool = "no", Bool, MODIFIABLE | VALKEY, OBSERVABILITY, NONE;
    /// Whether DEBUG may be used.
    "enable-debug-command" [] enable_debug_command: ProtectedAction = "no", Enum(ProtectedAction::NAMES), IMMUTABLE, IMPLEMENTED, NONE;
    /// Whether CONFIG SET may change protected directives.
    "enable-protected-configs" [] enable_protected_configs: ProtectedAction = "no", Enum(ProtectedAction::NAMES), IMMUTABLE, IMPLEMENTED, NONE;
    /// Whether MODULE may be used.
    "enable-module-command" [] enable_module_command: ProtectedAction = "no", Enum(ProtectedAction::NAMES), IMMUTABLE, OFF, NONE;
    /// Maximum seconds to wait for lagging replicas on shutdown.
    "shutdown-timeout" [] shutdown_timeout: u32 = "10", Int(0, INT), MODIFIABLE, IMPLEMENTED, NONE;
    /// Options of SHUTDOWN on SIGINT. With `failover`, a master of a cluster lets a replica take over first.
    "shutdown-on-sigint" [] shutdown_on_sigint: ShutdownFlags = "default", Words("default, save, nosave, now, force, failover"), MODIFIABLE, IMPLEMENTED, NONE;
    /// Options of SHUTDOWN on SIGTERM. With `failover`, a master of a cluster lets a replica take over first.
    "shutdown-on-sigterm" [] shutdown_on_sigterm: ShutdownFlags = "default", Words("default, save, nosave, now, force, failover"), MODIFIABLE, IMPLEMENTED, NONE;
}
section "Snapshots" {
    /// Pairs of seconds and changes: save a snapshot after that many seconds if there were at least
    /// that many changes. `""` disables them.
    "save" [] save: SavePoints = "3600 1 300 100 60 10000", Words("pairs of seconds and changes"), MODIFIABLE, IMPLEMENTED, NONE;
    /// Refuse writes while the last background save has failed.
    "stop-writes-on-bgsave-error" [] stop_writes_on_bgsave_error: bool = "yes", Bool, MODIFIABLE, IMPLEMENTED, NONE;
    /// Compress strings in snapshots.
    "rdbcompression" [] rdbcompression: bool = "yes", Bool, MODIFIABLE, IMPLEMENTED, NONE;
    /// Write a checksum at the end of snapshots and verify it on load.
    "rdbchecksum" [] rdbchecksum: bool = "yes", Bool, IMMUTABLE, IMPLEMENTED, NONE;
    /// Name of the snapshot file in `dir`.
    "dbfilename" [] dbfilename: Vec<u8> = "dump.rdb", Text(check::dbfilename), MODIFIABLE | PROTECTED, IMPLEMENTED, shell(|config| Request::DumpFile(text(&config.dbfilename)));
    /// Remove the RDB files of replication if persistence is disabled.
    "rdb-del-sync-files" [] rdb_del_sync_files: bool = "no", Bool, MODIFIABLE, IMPLEMENTED, NONE;
    /// Working directory, with snapshots and other files.
    "dir" [] dir: Vec<u8> = "./", Text(check::dir), MODIFIABLE | PROTECTED | DENY_LOADING, IMPLEMENTED, Apply::Both(ShellStep { request: |config| Request::ChangeDir(text(&config.dir)), shown: None }, Hook::AppendElsewhere);
    /// Sync snapshots to disk incrementally. A change applies to the next snapshot.
    "rdb-save-incremental-fsync" [] rdb_save_incremental_fsync: bool = "yes", Bool, MODIFIABLE, IMPLEMENTED, NONE;
    /// Whether snapshots of newer versions are loaded.
    "rdb-version-check" [] rdb_version_check: RdbVersionCheck = "strict", Enum(RdbVersionCheck::NAMES), MODIFIABLE | VALKEY, PERFORMANCE, NONE;
    /// When serialized values are deeply validated. Always on.
    "sanitize-dump-payload" [] sanitize_dump_payload: SanitizeDumpPayload = "no", Enum(SanitizeDumpPayload::NAMES), MODIFIABLE, IMPLEMENTED, NONE;
    /// For tests: microseconds to wait after each key of a snapshot that is written.
    "rdb-key-save-delay" [] rdb_key_save_delay: i32 = "0", Int(i32::MIN as i64, INT), MODIFIABLE | HIDDEN, IMPLEMENTED, NONE;
    /// For tests: microseconds to wait after each key that is loaded from a dump file or a
    /// payload of a full synchronization.
    "key-load-delay" [] key_load_delay: i32 = "0", Int(i32::MIN as i64, INT), MODIFIABLE | HIDDEN, IMPLEMENTED, NONE;
    /// Bytes that are loaded before clients are served.
    "loading-process-events-interval-bytes" [] loading_process_events_interval_bytes: u32 = "2097152", Int(1024, INT), MODIFIABLE | HIDDEN, PERFORMANCE, NONE;
}
section "Append-only file" {
    /// Append every write to a log that is replayed at the start.
    "appendonly" [] appendonly: bool = "no", Bool, MODIFIABLE | DENY_LOADING, IMPLEMENTED, append_only();
    /// Base name of the append-only files.
    "appendfilename" [] appendfilename: Vec<u8> = "appendonly.aof", Text(check::appendfilename), IMMUTABLE, IMPLEMENTED, NONE;
    /// Directory of the append-only files in `dir`.
    "appenddirname" [] appenddirname: Vec<u8> = "appendonlydir", Text(check::appenddirname), IMMUTABLE, IMPLEMENTED, NONE;
    /// When the append-only file is synced to disk.
    "appendfsync" [] appendfsync: AppendFsync = "everysec", Enum(AppendFsync::NAMES), MODIFIABLE, IMPLEMENTED, NONE;
    /// Do not sync the append-only file while a snapshot or rewrite runs.
    "no-appendfsync-on-rewrite" [] no_appendfsync_on_rewrite: bool = "no", Bool, MODIFIABLE, IMPLEMENTED, NONE;
    /// Growth in percent that triggers a rewrite; 0 disables it.
    "auto-aof-rewrite-percentage" [] auto_aof_rewrite_percentage: u32 = "100", Int(0, INT), MODIFIABLE, IMPLEMENTED, NONE;
    /// Minimum size for an automatic rewrite.
    "auto-aof-rewrite-min-size" [] auto_aof_rewrite_min_size: u64 = "64mb", Memory(0, LONG_SIZE), MODIFIABLE, IMPLEMENTED, NONE;
    /// Load a truncated append-only file as far as possible.
    "aof-load-truncated" [] aof_load_truncated: bool = "yes", Bool, MODIFIABLE, IMPLEMENTED, NONE;
    /// Start a rewritten append-only file with a snapshot.
    "aof-use-rdb-preamble" [] aof_use_rdb_preamble: bool = "yes", Bool, MODIFIABLE, IMPLEMENTED, NONE;
    /// Write timestamps to the append-only file.
    "aof-timestamp-enabled" [] aof_timestamp_enabled: bool = "no", Bool, MODIFIABLE, IMPLEMENTED, Apply::Engine(Hook::AppendSettings);
    /// Write checksums to the append-only file, in lines that stock servers skip.
    "aof-checksum" [] aof_checksum: bool = "yes", Bool, MODIFIABLE | RUSSET, IMPLEMENTED, Apply::Engine(Hook::AppendSettings);
    /// Sync rewrites to disk incrementally. A change applies to the next rewrite.
    "aof-rewrite-incremental-fsync" [] aof_rewrite_incremental_fsync: bool = "yes", Bool, MODIFIABLE, IMPLEMENTED, NONE;
    /// For tests: keep unused append-only files.
    "aof-disable-auto-gc" [] aof_disable_auto_gc: bool = "no", Bool, MODIFIABLE | HIDDEN, IMPLEMENTED, Apply::Engine(Hook::AppendHistory);
}
section "Replication" {
    /// Host and port of the master to follow; `no one` makes the server a master.
    "replicaof" ["slaveof"] replicaof: Option<MasterAddress> = "no one", Words("host and port"), IMMUTABLE, IMPLEMENTED, NONE;
    /// User name for the master.
    "masteruser" ["primaryuser"] masteruser: Vec<u8> = "", OptionalText(check::any), MODIFIABLE | SENSITIVE, IMPLEMENTED, NONE;
    /// Password for the master.
    "masterauth" ["primaryauth"] masterauth: Secret = "", OptionalText(check::any), MODIFIABLE | SENSITIVE, IMPLEMENTED, NONE;
    /// A replica serves its old data while it is not connected to its master.
    "replica-serve-stale-data" ["slave-serve-stale-data"] replica_serve_stale_data: bool = "yes", Bool, MODIFIABLE, IMPLEMENTED, NONE;
    /// A replica refuses writes of ordinary clients.
    "replica-read-only" ["slave-read-only"] replica_read_only: bool = "yes", Bool, MODIFIABLE, IMPLEMENTED, NONE;
    /// Priority for promotion by Sentinel: the lowest is promoted first, 0 never.
    "replica-priority" ["slave-priority"] replica_priority: u32 = "100", Int(0, INT), MODIFIABLE, IMPLEMENTED, NONE;
    /// Whether Sentinels report this replica.
    "replica-announced" [] replica_announced: bool = "yes", Bool, MODIFIABLE, IMPLEMENTED, NONE;
    /// Address that a replica reports to its master; empty for its source address.
    "replica-announce-ip" ["slave-announce-ip"] replica_announce_ip: Vec<u8> = "", OptionalText(check::host), MODIFIABLE, IMPLEMENTED, NONE;
    /// Port that a replica reports to its master; 0 for its own port.
    "replica-announce-port" ["slave-announce-port"] replica_announce_port: u16 = "0", Int(0, 65535), MODIFIABLE, IMPLEMENTED, NONE;
    /// Send snapshots directly to replicas instead of through a file.
    "repl-diskless-sync" [] repl_diskless_sync: bool = "yes", Bool, MODIFIABLE, IMPLEMENTED, NONE;
    /// Seconds that a diskless synchronization waits for more replicas.
    "repl-diskless-sync-delay" [] repl_diskless_sync_delay: u32 = "5", Int(0, INT), MODIFIABLE, IMPLEMENTED, NONE;
    /// Number of replicas that starts a diskless synchronization without further delay; 0 disables
    /// this.
    "repl-diskless-sync-max-replicas" [] repl_diskless_sync_max_replicas: u32 = "0", Int(0, INT), MODIFIABLE, IMPLEMENTED, NONE;
    /// Whether a replica loads snapshots directly from the socket. Always `swapdb`: into a second
    /// data set that replaces the old one when it is complete.
    "repl-diskless-load" [] repl_diskless_load: DisklessLoad = "disabled", Enum(DisklessLoad::NAMES), MODIFIABLE | DENY_LOADING, IMPLEMENTED, NONE;
    /// Send snapshot and stream of a full synchronization over two connections.
    "dual-channel-replication-enabled" [] dual_channel_replication_enabled: bool = "no", Bool, MODIFIABLE | VALKEY, PERFORMANCE, NONE;
    /// Seconds between pings to replicas.
    "repl-ping-replica-period" ["repl-ping-slave-period"] repl_ping_replica_period: u32 = "10", Int(1, INT), MODIFIABLE, IMPLEMENTED, NONE;
    /// Seconds without data after which a replication link times out.
    "repl-timeout" [] repl_timeout: u32 = "60", Int(1, INT), MODIFIABLE, IMPLEMENTED, NONE;
    /// Disable TCP_NODELAY on replica connections: fewer packets, up to 40 ms more latency.
    "repl-disable-tcp-nodelay" [] repl_disable_tcp_nodelay: bool = "no", Bool, MODIFIABLE, IMPLEMENTED, NONE;
    /// Size of the backlog for partial synchronizations, at least 16kb.
    "repl-backlog-size" [] repl_backlog_size: u64 = "1mb", Memory(1, LONG_SIZE), MODIFIABLE, IMPLEMENTED, Apply::Engine(Hook::BacklogSize);
    /// Seconds without replicas after which the backlog is freed; 0 keeps it.
    "repl-backlog-ttl" [] repl_backlog_ttl: u64 = "3600", Int(0, LONG), MODIFIABLE, IMPLEMENTED, NONE;
    /// A replica keeps running when it cannot write to disk.
    "replica-ignore-disk-write-errors" [] replica_ignore_disk_write_errors: bool = "no", Bool, MODIFIABLE, IMPLEMENTED, NONE;
    /// How errors of replicated commands are handled.
    "propagation-error-behavior" [] propagation_error_behavior: PropagationErrorBehavior = "ignore", Enum(PropagationErrorBehavior::NAMES), MODIFIABLE, IMPLEMENTED, NONE;
    /// Minimum number of good replicas to accept writes; 0 disables the check.
    "min-replicas-to-write" ["min-slaves-to-write"] min_replicas_to_write: u32 = "0", Int(0, INT), MODIFIABLE, IMPLEMENTED, NONE;
    /// Maximum seconds since the last acknowledgement of a good replica.
    "min-replicas-max-lag" ["min-slaves-max-lag"] min_replicas_max_lag: u32 = "10", Int(0, INT), MODIFIABLE, IMPLEMENTED, NONE;
    /// A replica does not evict keys, but relies on its master.
    "replica-ignore-maxmemory" ["slave-ignore-maxmemory"] replica_ignore_maxmemory: bool = "yes", Bool, MODIFIABLE, PERFORMANCE, NONE;
    /// A replica flushes old data in the background on a full synchronization. Always on.
    "replica-lazy-flush" ["slave-lazy-flush"] replica_lazy_flush: bool = "no", Bool, MODIFIABLE, IMPLEMENTED, NONE;
    /// Disable expiry and eviction while data is imported.
    "import-mode" [] import_mode: bool = "no", Bool, MODIFIABLE | VALKEY, durability("keys would expire during the import"), NONE;
}
section "Security" {
    /// Password of the default user; empty requires none.
    "requirepass" [] requirepass: Password = "", OptionalText(check::any), MODIFIABLE | SENSITIVE, IMPLEMENTED, Apply::Engine(Hook::Password);
    /// File of ACL users.
    "aclfile" [] aclfile: Vec<u8> = "", Text(check::any), IMMUTABLE, access("the users of this file could not log in, and the default user would not be restricted"), NONE;
    /// Default channel permissions of a new ACL user.
    "acl-pubsub-default" [] acl_pubsub_default: AclPubsubDefault = "resetchannels", Enum(AclPubsubDefault::NAMES), MODIFIABLE, WITHOUT_USERS, NONE;
    /// Entries that ACL LOG keeps.
    "acllog-max-len" [] acllog_max_len: u64 = "128", Int(0, LONG), MODIFIABLE, OBSERVABILITY, NONE;
}
section "Clients" {
    /// Maximum number of connected clients.
    "maxclients" [] maxclients: u32 = "10000", Int(1, UINT), MODIFIABLE, IMPLEMENTED, shell(|config| Request::MaxClients(config.maxclients));
    /// Limits of output buffers: client class, hard limit, soft limit and its seconds.
    "client-output-buffer-limit" [] client_output_buffer_limit: OutputLimits = "normal 0 0 0 replica 256mb 64mb 60 pubsub 32mb 8mb 60", Words("class, hard limit, soft limit, seconds"), MODIFIABLE, IMPLEMENTED, NONE;
    /// Maximum size of a client's query buffer.
    "client-query-buffer-limit" [] client_query_buffer_limit: u64 = "1gb", Memory(1 << 20, LONG_SIZE), MODIFIABLE, IMPLEMENTED, NONE;
    /// Maximum length of an argument.
    "proto-max-bulk-len" [] proto_max_bulk_len: u64 = "512mb", Memory(1 << 20, LONG_SIZE), MODIFIABLE, IMPLEMENTED, NONE;
    /// Maximum memory of all clients' buffers before clients are evicted; 0 sets no limit.
    "maxmemory-clients" [] maxmemory_clients: MemoryOrPercent = "0", SizeOrPercent, MODIFIABLE, limits("the memory of clients' buffers would not be limited"), NONE;
    /// Maximum number of keys tracked for client-side caching.
    "tracking-table-max-keys" [] tracking_table_max_keys: u64 = "1000000", Int(0, LONG), MODIFIABLE, PERFORMANCE, NONE;
    /// Classes of keyspace events that are published.
    "notify-keyspace-events" [] notify_keyspace_events: KeyspaceEvents = "", Word("letters of Ag$lshzxeKEtmdn"), MODIFIABLE, IMPLEMENTED, Apply::Engine(Hook::KeyspaceEvents);
    /// Milliseconds after which a running script makes other clients get BUSY errors.
    "busy-reply-threshold" ["lua-time-limit"] busy_reply_threshold: u64 = "5000", Int(0, LONG), MODIFIABLE, PERFORMANCE, NONE;
    /// Enable deprecated insecure functions in scripts.
    "lua-enable-insecure-api" ["lua-enable-deprecated-api"] lua_enable_insecure_api: bool = "no", Bool, MODIFIABLE | HIDDEN | PROTECTED | VALKEY, PERFORMANCE, NONE;
}
section "Memory" {
    /// Memory limit above which keys are evicted or writes refused; 0 sets no limit.
    "maxmemory" [] maxmemory: u64 = "0", Memory(0, u64::MAX), MODIFIABLE, limits("memory would grow beyond the limit, without eviction or errors for writes"), NONE;
    /// Eviction policy.
    "maxmemory-policy" [] maxmemory_policy: EvictionPolicy = "noeviction", Enum(EvictionPolicy::NAMES), MODIFIABLE, PERFORMANCE, Apply::Engine(Hook::UseCounting);
    /// Keys sampled to find one to evict.
    "maxmemory-samples" [] maxmemory_samples: u32 = "5", Int(1, INT), MODIFIABLE, PERFORMANCE, NONE;
    /// Eviction effort: 0 for low latency, 100 for no limit.
    "maxmemory-eviction-tenacity" [] maxmemory_eviction_tenacity: u32 = "10", Int(0, 100), MODIFIABLE, PERFORMANCE, NONE;
    /// Growth factor of the LFU counter; higher is slower.
    "lfu-log-factor" [] lfu_log_factor: u32 = "10", Int(0, INT), MODIFIABLE, IMPLEMENTED, Apply::Engine(Hook::UseCounting);
    /// Minutes after which the LFU counter is decremented.
    "lfu-decay-time" [] lfu_decay_time: u32 = "1", Int(0, INT), MODIFIABLE, IMPLEMENTED, Apply::Engine(Hook::UseCounting);
    /// Free evicted values in the background. Always on.
    "lazyfree-lazy-eviction" [] lazyfree_lazy_eviction: bool = "no", Bool, MODIFIABLE, IMPLEMENTED, NONE;
    /// Free expired values in the background. Always on.
    "lazyfree-lazy-expire" [] lazyfree_lazy_expire: bool = "no", Bool, MODIFIABLE, IMPLEMENTED, NONE;
    /// Values that a command replaces are freed beside the work. Here they always are, and this only decides whether RESTORE of
    /// a value that has expired is propagated as UNLINK or DEL.
    "lazyfree-lazy-server-del" [] lazyfree_lazy_server_del: bool = "no", Bool, MODIFIABLE, IMPLEMENTED, NONE;
    /// Make DEL behave like UNLINK. Always on.
    "lazyfree-lazy-user-del" [] lazyfree_lazy_user_del: bool = "no", Bool, MODIFIABLE, IMPLEMENTED, NONE;
    /// Make FLUSHALL and FLUSHDB asynchronous by default. Always on.
    "lazyfree-lazy-user-flush" [] lazyfree_lazy_user_flush: bool = "no", Bool, MODIFIABLE, IMPLEMENTED, NONE;
    /// Enable the allocator's background thread.
    "jemalloc-bg-thread" [] jemalloc_bg_thread: bool = "yes", Bool, MODIFIABLE, IMPLEMENTED, shell(|config| Request::PurgeInBackground(config.jemalloc_bg_thread));
    /// Disable transparent huge pages for the process.
    "disable-thp" [] disable_thp: bool = "yes", Bool, IMMUTABLE, IMPLEMENTED, NONE;
    /// Adjust the OOM score of the process.
    "oom-score-adj" [] oom_score_adj: OomScoreAdj = "no", Enum(OomScoreAdj::NAMES), MODIFIABLE, PERFORMANCE, NONE;
    /// OOM scores of a master, a replica, and background processes.
    "oom-score-adj-values" [] oom_score_adj_values: OomScores = "0 200 800", Words("three numbers from -2000 to 2000"), MODIFIABLE, PERFORMANCE, NONE;
    /// Defragment memory while the server runs.
    "activedefrag" [] activedefrag: bool = "no", Bool, MODIFIABLE, PERFORMANCE, NONE;
    /// Minimum fragmentation to start defragmentation.
    "active-defrag-ignore-bytes" [] active_defrag_ignore_bytes: u64 = "100mb", Memory(1, LONG_SIZE), MODIFIABLE, PERFORMANCE, NONE;
    /// Minimum fragmentation in percent to start defragmentation.
    "active-defrag-threshold-lower" [] active_defrag_threshold_lower: u32 = "10", Int(0, 1000), MODIFIABLE, PERFORMANCE, NONE;
    /// Fragmentation in percent at which the effort is maximal.
    "active-defrag-threshold-upper" [] active_defrag_threshold_upper: u32 = "100", Int(0, 1000), MODIFIABLE, PERFORMANCE, NONE;
    /// Minimum CPU percentage of defragmentation.
    "active-defrag-cycle-min" [] active_defrag_cycle_min: u32 = "1", Int(1, 99), MODIFIABLE, PERFORMANCE, NONE;
    /// Maximum CPU percentage of defragmentation.
    "active-defrag-cycle-max" [] active_defrag_cycle_max: u32 = "25", Int(1, 99), MODIFIABLE, PERFORMANCE, NONE;
    /// Microseconds of one defragmentation cycle.
    "active-defrag-cycle-us" [] active_defrag_cycle_us: u32 = "500", Int(0, 100_000), MODIFIABLE | VALKEY, PERFORMANCE, NONE;
    /// Elements above which a collection is defragmented in several steps.
    "active-defrag-max-scan-fields" [] active_defrag_max_scan_fields: u64 = "1000", Int(1, LONG), MODIFIABLE, PERFORMANCE, NONE;
}
section "Cluster" {
    /// Enable cluster mode.
    "cluster-enabled" [] cluster_enabled: bool = "no", Bool, IMMUTABLE, IMPLEMENTED, NONE;
    /// Number of databases in cluster mode, in place of `databases`; a directive of Valkey 9.
    "cluster-databases" [] cluster_databases: u32 = "1", Int(1, INT), IMMUTABLE | RUSSET, IMPLEMENTED, NONE;
    /// File with the node's view of the cluster.
    "cluster-config-file" [] cluster_config_file: Vec<u8> = "nodes.conf", Text(check::cluster_config_file), IMMUTABLE, IMPLEMENTED, NONE;
    /// Milliseconds without contact after which a node is considered failing; less than 500 is 500.
    "cluster-node-timeout" [] cluster_node_timeout: u64 = "15000", Int(0, LONG), MODIFIABLE, IMPLEMENTED, Apply::Engine(Hook::Cluster);
    /// TCP port of the cluster bus; 0 for the client port plus 10000.
    "cluster-port" [] cluster_port: u16 = "0", Int(0, 65535), IMMUTABLE, IMPLEMENTED, NONE;
    /// Maximum age of a replica's data for a failover, as a multiple of the node timeout; 0 sets no
    /// limit.
    "cluster-replica-validity-factor" ["cluster-slave-validity-factor"] cluster_replica_validity_factor: u32 = "10", Int(0, INT), MODIFIABLE, IMPLEMENTED, Apply::Engine(Hook::Cluster);
    /// Replicas that a master keeps when another one migrates to an orphaned master.
    "cluster-migration-barrier" [] cluster_migration_barrier: u32 = "1", Int(0, INT), MODIFIABLE, IMPLEMENTED, Apply::Engine(Hook::Cluster);
    /// Allow replicas to migrate to orphaned masters.
    "cluster-allow-replica-migration" [] cluster_allow_replica_migration: bool = "yes", Bool, MODIFIABLE, IMPLEMENTED, Apply::Engine(Hook::Cluster);
    /// Refuse queries while any slot is not covered.
    "cluster-require-full-coverage" [] cluster_require_full_coverage: bool = "yes", Bool, MODIFIABLE, IMPLEMENTED, Apply::Engine(Hook::Cluster);
    /// Disable automatic failover by this replica.
    "cluster-replica-no-failover" ["cluster-slave-no-failover"] cluster_replica_no_failover: bool = "no", Bool, MODIFIABLE, IMPLEMENTED, Apply::Engine(Hook::Cluster);
    /// Allow reads while the cluster is down.
    "cluster-allow-reads-when-down" [] cluster_allow_reads_when_down: bool = "no", Bool, MODIFIABLE, IMPLEMENTED, NONE;
    /// Allow shard channels while the cluster is down.
    "cluster-allow-pubsubshard-when-down" [] cluster_allow_pubsubshard_when_down: bool = "yes", Bool, MODIFIABLE, IMPLEMENTED, NONE;
    /// Maximum send buffer of a cluster bus link; 0 sets no limit.
    "cluster-link-sendbuf-limit" [] cluster_link_sendbuf_limit: u64 = "0", Memory(0, u64::MAX), MODIFIABLE, IMPLEMENTED, NONE;
    /// Announced address.
    "cluster-announce-ip" [] cluster_announce_ip: Vec<u8> = "", OptionalText(check::any), MODIFIABLE, IMPLEMENTED, Apply::Engine(Hook::Cluster);
    /// IPv4 address that is announced to clients.
    "cluster-announce-client-ipv4" [] cluster_announce_client_ipv4: Vec<u8> = "", OptionalText(check::ipv4), MODIFIABLE | VALKEY, IMPLEMENTED, Apply::Engine(Hook::Cluster);
    /// IPv6 address that is announced to clients.
    "cluster-announce-client-ipv6" [] cluster_announce_client_ipv6: Vec<u8> = "", OptionalText(check::ipv6), MODIFIABLE | VALKEY, IMPLEMENTED, Apply::Engine(Hook::Cluster);
    /// Client port that is announced.
    "cluster-announce-port" [] cluster_announce_port: u16 = "0", Int(0, 65535), MODIFIABLE, IMPLEMENTED, Apply::Engine(Hook::Cluster);
    /// Client port for TLS that is announced.
    "cluster-announce-tls-port" [] cluster_announce_tls_port: u16 = "0", Int(0, 65535), MODIFIABLE, IMPLEMENTED, Apply::Engine(Hook::Cluster);
    /// Port of the bus that is announced.
    "cluster-announce-bus-port" [] cluster_announce_bus_port: u16 = "0", Int(0, 65535), MODIFIABLE, IMPLEMENTED, Apply::Engine(Hook::Cluster);
    /// Host name that is announced.
    "cluster-announce-hostname" [] cluster_announce_hostname: Vec<u8> = "", OptionalText(check::hostname), MODIFIABLE, IMPLEMENTED, Apply::Engine(Hook::Cluster);
    /// Announced human-readable name of the node.
    "cluster-announce-human-nodename" [] cluster_announce_human_nodename: Vec<u8> = "", OptionalText(check::node_name), MODIFIABLE, IMPLEMENTED, Apply::Engine(Hook::Cluster);
    /// Secret of at least 16 characters that nodes of the cluster prove to each other in every message of the bus. All
    /// nodes need the same one; stock servers cannot have one.
    "cluster-bus-secret" [] cluster_bus_secret: Secret = "", OptionalText(check::bus_secret), MODIFIABLE | SENSITIVE | RUSSET, IMPLEMENTED, Apply::Engine(Hook::Cluster);
    /// Kind of address that clients are redirected to.
    "cluster-preferred-endpoint-type" [] cluster_preferred_endpoint_type: ClusterEndpointType = "ip", Enum(ClusterEndpointType::NAMES), MODIFIABLE, IMPLEMENTED, NONE;
    /// For tests: milliseconds between pings of the cluster bus; 0 for the default.
    "cluster-ping-interval" [] cluster_ping_interval: u64 = "0", Int(0, LONG), MODIFIABLE | HIDDEN, IMPLEMENTED, Apply::Engine(Hook::Cluster);
    /// Seconds for which a forgotten node is not added again.
    "cluster-blacklist-ttl" [] cluster_blacklist_ttl: u64 = "60", Int(0, LONG), MODIFIABLE | VALKEY, IMPLEMENTED, Apply::Engine(Hook::Cluster);
    /// Milliseconds after which a manual failover is aborted.
    "cluster-manual-failover-timeout" [] cluster_manual_failover_timeout: u32 = "5000", Int(1, INT), MODIFIABLE | VALKEY, IMPLEMENTED, Apply::Engine(Hook::Cluster);
    /// Collect statistics for each slot.
    "cluster-slot-stats-enabled" [] cluster_slot_stats_enabled: bool = "no", Bool, MODIFIABLE | VALKEY, IMPLEMENTED, Apply::Engine(Hook::SlotStats);
}
section "Encodings" {
    /// Maximum number of entries of a listpack-encoded hash.
    "hash-max-listpack-entries" ["hash-max-ziplist-entries"] hash_max_listpack_entries: u64 = "512", Int(0, LONG), MODIFIABLE, IMPLEMENTED, NONE;
    /// Maximum size of fields and values of a listpack-encoded hash.
    "hash-max-listpack-value" ["hash-max-ziplist-value"] hash_max_listpack_value: u64 = "64", Memory(0, LONG_SIZE), MODIFIABLE, IMPLEMENTED, NONE;
    /// Maximum size of a list node: elements if positive, -1 to -5 for 4, 8, 16, 32 and 64 kb.
    "list-max-listpack-size" ["list-max-ziplist-size"] list_max_listpack_size: i32 = "-2", Int(i32::MIN as i64, INT), MODIFIABLE, IMPLEMENTED, NONE;
    /// Nodes at each end of a list that stay uncompressed; 0 compresses none.
    "list-compress-depth" [] list_compress_depth: u32 = "0", Int(0, INT), MODIFIABLE, PERFORMANCE, NONE;
    /// Maximum number of elements of an intset-encoded set.
    "set-max-intset-entries" [] set_max_intset_entries: u64 = "512", Int(0, LONG), MODIFIABLE, IMPLEMENTED, NONE;
    /// Maximum number of elements of a listpack-encoded set.
    "set-max-listpack-entries" [] set_max_listpack_entries: u64 = "128", Int(0, LONG), MODIFIABLE, IMPLEMENTED, NONE;
    /// Maximum size of elements of a listpack-encoded set.
    "set-max-listpack-value" [] set_max_listpack_value: u64 = "64", Int(0, LONG), MODIFIABLE, IMPLEMENTED, NONE;
    /// Maximum number of elements of a listpack-encoded sorted set.
    "zset-max-listpack-entries" ["zset-max-ziplist-entries"] zset_max_listpack_entries: u64 = "128", Int(0, LONG), MODIFIABLE, IMPLEMENTED, NONE;
    /// Maximum size of elements of a listpack-encoded sorted set.
    "zset-max-listpack-value" ["zset-max-ziplist-value"] zset_max_listpack_value: u64 = "64", Memory(0, LONG_SIZE), MODIFIABLE, IMPLEMENTED, NONE;
    /// Maximum size of a sparse HyperLogLog.
    "hll-sparse-max-bytes" [] hll_sparse_max_bytes: u64 = "3000", Memory(0, LONG_SIZE), MODIFIABLE, IMPLEMENTED, NONE;
    /// Maximum size of a stream node; 0 sets no limit.
    "stream-node-max-bytes" [] stream_node_max_bytes: u64 = "4096", Memory(0, LONG_SIZE), MODIFIABLE, IMPLEMENTED, NONE;
    /// Maximum number of entries of a stream node; 0 sets no limit.
    "stream-node-max-entries" [] stream_node_max_entries: u64 = "100", Int(0, LONG), MODIFIABLE, IMPLEMENTED, NONE;
}
section "Background work" {
    /// Frequency of the cron per second; clamped to 1 to 500.
    "hz" [] hz: u32 = "10", Int(0, INT), MODIFIABLE, IMPLEMENTED, Apply::Engine(Hook::CronPace);
    /// Raise `hz` with the number of clients.
    "dynamic-hz" [] dynamic_hz: bool = "yes", Bool, MODIFIABLE, IMPLEMENTED, NONE;
    /// Rehash tables in the background. Always incremental.
    "activerehashing" [] activerehashing: bool = "yes", Bool, MODIFIABLE, IMPLEMENTED, NONE;
    /// Effort of active expiry, from 1 to 10.
    "active-expire-effort" [] active_expire_effort: u32 = "1", Int(1, 10), MODIFIABLE, IMPLEMENTED, NONE;
    /// Number of I/O threads.
    "io-threads" [] io_threads: u32 = "1", Int(1, 128), IMMUTABLE, PERFORMANCE, NONE;
    /// Also read in I/O threads.
    "io-threads-do-reads" [] io_threads_do_reads: bool = "no", Bool, IMMUTABLE, PERFORMANCE, NONE;
    /// Events per cycle that activate another I/O thread.
    "events-per-io-thread" [] events_per_io_thread: u32 = "2", Int(0, INT), MODIFIABLE | HIDDEN | VALKEY, PERFORMANCE, NONE;
    /// Commands whose keys are prefetched together.
    "prefetch-batch-max-size" [] prefetch_batch_max_size: u32 = "16", Int(0, 128), MODIFIABLE | VALKEY, PERFORMANCE, NONE;
    /// CPU list of the main thread.
    "server_cpulist" ["server-cpulist"] server_cpulist: Vec<u8> = "", OptionalText(check::any), IMMUTABLE, PERFORMANCE, NONE;
    /// CPU list of background threads.
    "bio_cpulist" ["bio-cpulist"] bio_cpulist: Vec<u8> = "", OptionalText(check::any), IMMUTABLE, PERFORMANCE, NONE;
    /// CPU list of AOF rewrites.
    "aof_rewrite_cpulist" ["aof-rewrite-cpulist"] aof_rewrite_cpulist: Vec<u8> = "", OptionalText(check::any), IMMUTABLE, PERFORMANCE, NONE;
    /// CPU list of background saves.
    "bgsave_cpulist" ["bgsave-cpulist"] bgsave_cpulist: Vec<u8> = "", OptionalText(check::any), IMMUTABLE, PERFORMANCE, NONE;
    /// For debugging: milliseconds after which a blocked server logs a stack trace.
    "watchdog-period" [] watchdog_period: u32 = "0", Int(0, INT), MODIFIABLE | HIDDEN, OBSERVABILITY, NONE;
    /// For tests: exit on a panic instead of raising a signal.
    "use-exit-on-panic" [] use_exit_on_panic: bool = "no", Bool, MODIFIABLE | HIDDEN, PERFORMANCE, NONE;
    /// For tests: enable expensive assertions.
    "enable-debug-assert" [] enable_debug_assert: bool = "no", Bool, IMMUTABLE | HIDDEN | VALKEY, OBSERVABILITY, NONE;
    /// For tests: text to include in crash reports.
    "debug-context" [] debug_context: Vec<u8> = "", Text(check::any), MODIFIABLE | HIDDEN | VALKEY, OBSERVABILITY, NONE;
}
section "Observability" {
    /// Microseconds above which a command is added to the slow log; 0 logs all, -1 none.
    "slowlog-log-slower-than" ["commandlog-execution-slower-than"] slowlog_log_slower_than: i64 = "10000", Int(-1, LONG), MODIFIABLE, IMPLEMENTED, NONE;
    /// Maximum length of the slow log.
    "slowlog-max-len" ["commandlog-slow-execution-max-len"] slowlog_max_len: u64 = "128", Int(0, LONG), MODIFIABLE, IMPLEMENTED, NONE;
    /// Bytes above which a request is added to the command log; -1 disables it.
    "commandlog-request-larger-than" [] commandlog_request_larger_than: i64 = "1048576", Int(-1, LONG), MODIFIABLE | VALKEY, OBSERVABILITY, NONE;
    /// Maximum number of large requests in the command log.
    "commandlog-large-request-max-len" [] commandlog_large_request_max_len: u64 = "128", Int(0, LONG), MODIFIABLE | VALKEY, OBSERVABILITY, NONE;
    /// Bytes above which a reply is added to the command log; -1 disables it.
    "commandlog-reply-larger-than" [] commandlog_reply_larger_than: i64 = "1048576", Int(-1, LONG), MODIFIABLE | VALKEY, OBSERVABILITY, NONE;
    /// Maximum number of large replies in the command log.
    "commandlog-large-reply-max-len" [] commandlog_large_reply_max_len: u64 = "128", Int(0, LONG), MODIFIABLE | VALKEY, OBSERVABILITY, NONE;
    /// Milliseconds above which the latency monitor logs an event; 0 disables it.
    "latency-monitor-threshold" [] latency_monitor_threshold: u64 = "0", Int(0, LONG), MODIFIABLE, OBSERVABILITY, NONE;
    /// Track the latency of each command.
    "latency-tracking" [] latency_tracking: bool = "yes", Bool, MODIFIABLE, OFF, NONE;
    /// Latency percentiles in INFO.
    "latency-tracking-info-percentiles" [] latency_tracking_info_percentiles: Percentiles = "50 99 99.9", Words("numbers from 0 to 100"), MODIFIABLE, OBSERVABILITY, NONE;
}
}
