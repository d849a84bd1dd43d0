//! The table: one row is one directive.
//!
//! Parsing, the command line, CONFIG GET, SET and REWRITE, the example configuration and
//! `docs/config.md` all derive from these rows. To add a directive, add a row; to finish a feature,
//! turn the row's status to [`Status::Built`].
//!
//! Names and defaults are those of Redis 7.2, with the newer names of Valkey 8.1 as aliases and its
//! additional directives marked [`VALKEY`]. What stands in a configuration file but has no value
//! (`include`, `rename-command`, …) is not here but in `file_only.rs`.

use super::apply::{Apply, Hook, listen, log_to, shell, text};
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
/// Is settled at start.
pub const IMMUTABLE: u16 = 1 << 0;
/// CONFIG GET shows it only under its exact name.
pub const HIDDEN: u16 = 1 << 1;
/// Its value is kept out of logs.
pub const SENSITIVE: u16 = 1 << 2;
/// CONFIG SET needs `enable-protected-configs`.
pub const PROTECTED: u16 = 1 << 3;
/// CONFIG SET is refused while a dataset is being loaded.
pub const DENY_LOADING: u16 = 1 << 4;
/// Redis 7.2 doesn't have it; Valkey 8.1 does.
pub const VALKEY: u16 = 1 << 5;

/// Whether a directive does what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does, or what it asks for is always so.
    Built,
    /// It doesn't yet.
    NotBuilt(Promise),
    /// It doesn't yet, and means nothing without this directive, which isn't built either and is
    /// refused at any value but its default: accepted as it stands in many a file.
    Without(&'static str),
    /// It is off, whatever it says: nobody misses what it would do by default.
    Off,
}

impl Status {
    /// Whether only the default is accepted.
    pub fn is_refused(self) -> bool {
        matches!(self, Status::NotBuilt(promise) if promise.is_refused())
    }
}

/// What a directive promises to whoever sets it; decides how it is treated while it isn't built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// That data survives: refused at any value but the default.
    Safety,
    /// That something stays bounded: refused at any value but the default.
    Limits,
    /// Who may do what, or see what: refused at any value but the default.
    Rights,
    /// Speed or space: accepted with one warning.
    Tunes,
    /// Logs and figures: accepted with one warning.
    Observes,
}

impl Promise {
    /// Whether ignoring the directive would betray whoever set it.
    pub fn is_refused(self) -> bool {
        matches!(self, Promise::Safety | Promise::Limits | Promise::Rights)
    }
}

/// Takes the meaning of words on, or says why not.
type Assign = fn(&mut Config, &[&[u8]], Origin) -> Result<(), Refusal>;

/// One directive.
pub struct Directive {
    /// Its name, in lower case.
    pub name: &'static str,
    /// Older and newer names that mean the same.
    pub aliases: &'static [&'static str],
    /// The heading under which it is documented.
    pub section: &'static str,
    /// How its value is read.
    pub kind: Kind,
    /// Its default, as it would stand in a configuration file; nothing stands for one empty word.
    pub default: &'static str,
    /// Constants of this module, such as [`IMMUTABLE`].
    pub flags: u16,
    /// Whether it is built.
    pub status: Status,
    /// What a change needs.
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

    /// What the directive does, in a sentence or two.
    pub fn doc(&self) -> String {
        self.doc.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Its default as it stands in a configuration file.
    pub fn default_in_file(&self) -> &'static str {
        if self.default.is_empty() { "\"\"" } else { self.default }
    }

    /// Its name and its aliases.
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
        /// Every setting, typed. [`Config::default`] holds Redis' defaults.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Config {
            $($($(#[doc = $doc])+ pub $field: $type,)+)+
        }

        impl Config {
            /// A value to assign the defaults to; has no meaning of its own.
            pub(super) fn blank() -> Config {
                Config { $($($field: <$type>::default(),)+)+ }
            }
        }

        /// Every directive, in the order in which they are documented.
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

const BUILT: Status = Status::Built;
const SAFETY: Status = Status::NotBuilt(Promise::Safety);
const LIMITS: Status = Status::NotBuilt(Promise::Limits);
const RIGHTS: Status = Status::NotBuilt(Promise::Rights);
const TUNES: Status = Status::NotBuilt(Promise::Tunes);
const OBSERVES: Status = Status::NotBuilt(Promise::Observes);
const WITHOUT_AOF: Status = Status::Without("appendonly");
const WITHOUT_TLS: Status = Status::Without("tls-port");
const WITHOUT_CLUSTER: Status = Status::Without("cluster-enabled");
const WITHOUT_USERS: Status = Status::Without("aclfile");
const OFF: Status = Status::Off;
const NONE: Apply = Apply::None;

/// A C `int`'s greatest value: the bound of many rows.
const INT: i64 = i32::MAX as i64;
/// A C `unsigned int`'s greatest value.
const UINT: i64 = u32::MAX as i64;
/// A C `long`'s greatest value.
const LONG: i64 = i64::MAX;
/// The same as a size.
const LONG_SIZE: u64 = i64::MAX as u64;

directives! {
section "Network" {
    /// Addresses to listen on. One that begins with `-` may be missing on this machine; `*` and `::*` stand for
    /// all of IPv4 and IPv6, and an empty list opens no TCP port.
    "bind" [] bind: BindList = "* -::*", Words("addresses"), MODIFIABLE, BUILT, listen("Failed to bind to specified addresses.");
    /// Source address of connections that the server opens itself, to its master for instance.
    "bind-source-addr" [] bind_source_addr: Vec<u8> = "", OptionalText(check::any), MODIFIABLE, RIGHTS, NONE;
    /// TCP port to listen on; 0 opens none.
    "port" [] port: u16 = "6379", Int(0, 65535), MODIFIABLE, BUILT, listen("Unable to listen on this port. Check server logs.");
    /// Path of a Unix socket to listen on.
    "unixsocket" [] unixsocket: Vec<u8> = "", OptionalText(check::path), IMMUTABLE, BUILT, NONE;
    /// Permissions of the Unix socket; 0 leaves them to the umask.
    "unixsocketperm" [] unixsocketperm: u32 = "0", Octal(0o777), IMMUTABLE, BUILT, NONE;
    /// Group that owns the Unix socket.
    "unixsocketgroup" [] unixsocketgroup: Vec<u8> = "", OptionalText(check::any), IMMUTABLE | VALKEY, RIGHTS, NONE;
    /// While the default user needs no password, only clients of this machine are served.
    "protected-mode" [] protected_mode: bool = "yes", Bool, MODIFIABLE, BUILT, NONE;
    /// Length of the queue of connections the kernel has completed and the server hasn't accepted.
    "tcp-backlog" [] tcp_backlog: i32 = "511", Int(0, INT), IMMUTABLE, BUILT, NONE;
    /// Seconds after which TCP probes a silent peer; 0 never probes.
    "tcp-keepalive" [] tcp_keepalive: u32 = "300", Int(0, INT), MODIFIABLE, BUILT, shell(|config| Request::KeepAlive(config.tcp_keepalive));
    /// Seconds after which an idle client is disconnected; 0 never.
    "timeout" [] timeout: u32 = "0", Int(0, INT), MODIFIABLE, BUILT, NONE;
    /// Mark that the kernel puts on every packet of the server, for routing and filtering.
    "socket-mark-id" [] socket_mark_id: u32 = "0", Int(0, UINT), IMMUTABLE, RIGHTS, NONE;
    /// Connections that are accepted in one round of the event loop.
    "max-new-connections-per-cycle" [] max_new_connections_per_cycle: u32 = "10", Int(1, 1000), MODIFIABLE | VALKEY, TUNES, NONE;
    /// Connections with TLS that are accepted in one round of the event loop.
    "max-new-tls-connections-per-cycle" [] max_new_tls_connections_per_cycle: u32 = "1", Int(1, 1000), MODIFIABLE | VALKEY, TUNES, NONE;
    /// TCP port for RDMA; 0 opens none.
    "rdma-port" [] rdma_port: u16 = "0", Int(0, 65535), IMMUTABLE | VALKEY, RIGHTS, NONE;
    /// Addresses to listen on for RDMA.
    "rdma-bind" [] rdma_bind: Vec<u8> = "", OptionalText(check::any), IMMUTABLE | VALKEY, RIGHTS, NONE;
    /// Size of the receive buffer of an RDMA connection.
    "rdma-rx-size" [] rdma_rx_size: u64 = "1mb", Memory(64 << 10, 16 << 20), IMMUTABLE | VALKEY, TUNES, NONE;
    /// Completion vector of RDMA; -1 picks one.
    "rdma-completion-vector" [] rdma_completion_vector: i32 = "-1", Int(-1, 1024), IMMUTABLE | VALKEY, TUNES, NONE;
}
section "TLS" {
    /// TCP port for TLS; 0 opens none.
    "tls-port" [] tls_port: u16 = "0", Int(0, 65535), MODIFIABLE, RIGHTS, NONE;
    /// File of the server's certificate.
    "tls-cert-file" [] tls_cert_file: Vec<u8> = "", OptionalText(check::any), MODIFIABLE, WITHOUT_TLS, NONE;
    /// File of the server's private key.
    "tls-key-file" [] tls_key_file: Vec<u8> = "", OptionalText(check::any), MODIFIABLE, WITHOUT_TLS, NONE;
    /// Password of the server's private key.
    "tls-key-file-pass" [] tls_key_file_pass: Secret = "", OptionalText(check::any), MODIFIABLE | SENSITIVE, WITHOUT_TLS, NONE;
    /// File of the certificate shown to a master or another node.
    "tls-client-cert-file" [] tls_client_cert_file: Vec<u8> = "", OptionalText(check::any), MODIFIABLE, WITHOUT_TLS, NONE;
    /// File of the private key that belongs to it.
    "tls-client-key-file" [] tls_client_key_file: Vec<u8> = "", OptionalText(check::any), MODIFIABLE, WITHOUT_TLS, NONE;
    /// Password of that private key.
    "tls-client-key-file-pass" [] tls_client_key_file_pass: Secret = "", OptionalText(check::any), MODIFIABLE | SENSITIVE, WITHOUT_TLS, NONE;
    /// File of Diffie-Hellman parameters.
    "tls-dh-params-file" [] tls_dh_params_file: Vec<u8> = "", OptionalText(check::any), MODIFIABLE, WITHOUT_TLS, NONE;
    /// File of the certificates that clients' certificates must descend from.
    "tls-ca-cert-file" [] tls_ca_cert_file: Vec<u8> = "", OptionalText(check::any), MODIFIABLE, WITHOUT_TLS, NONE;
    /// Folder of the certificates that clients' certificates must descend from.
    "tls-ca-cert-dir" [] tls_ca_cert_dir: Vec<u8> = "", OptionalText(check::any), MODIFIABLE, WITHOUT_TLS, NONE;
    /// Whether clients must show a certificate.
    "tls-auth-clients" [] tls_auth_clients: TlsAuthClients = "yes", Enum(TlsAuthClients::NAMES), MODIFIABLE, WITHOUT_TLS, NONE;
    /// The link to the master is encrypted.
    "tls-replication" [] tls_replication: bool = "no", Bool, MODIFIABLE, RIGHTS, NONE;
    /// The links between cluster nodes are encrypted.
    "tls-cluster" [] tls_cluster: bool = "no", Bool, MODIFIABLE, WITHOUT_CLUSTER, NONE;
    /// Versions of TLS that are spoken.
    "tls-protocols" [] tls_protocols: Vec<u8> = "", OptionalText(check::any), MODIFIABLE, WITHOUT_TLS, NONE;
    /// Ciphers for TLS up to 1.2.
    "tls-ciphers" [] tls_ciphers: Vec<u8> = "", OptionalText(check::any), MODIFIABLE, WITHOUT_TLS, NONE;
    /// Cipher suites for TLS 1.3.
    "tls-ciphersuites" [] tls_ciphersuites: Vec<u8> = "", OptionalText(check::any), MODIFIABLE, WITHOUT_TLS, NONE;
    /// The server's order of ciphers counts, not the client's.
    "tls-prefer-server-ciphers" [] tls_prefer_server_ciphers: bool = "no", Bool, MODIFIABLE, WITHOUT_TLS, NONE;
    /// Sessions are kept so that clients reconnect faster.
    "tls-session-caching" [] tls_session_caching: bool = "yes", Bool, MODIFIABLE, WITHOUT_TLS, NONE;
    /// Sessions that are kept; 0 sets no bound.
    "tls-session-cache-size" [] tls_session_cache_size: u32 = "20480", Int(0, INT), MODIFIABLE, WITHOUT_TLS, NONE;
    /// Seconds for which a session is kept.
    "tls-session-cache-timeout" [] tls_session_cache_timeout: u32 = "300", Int(0, INT), MODIFIABLE, WITHOUT_TLS, NONE;
}
section "General" {
    /// The process detaches from the terminal and runs in the background.
    "daemonize" [] daemonize: bool = "no", Bool, IMMUTABLE, BUILT, NONE;
    /// File that holds the process id while the server runs.
    "pidfile" [] pidfile: Vec<u8> = "", OptionalText(check::path), IMMUTABLE, BUILT, NONE;
    /// How readiness is reported to the program that started the server.
    "supervised" [] supervised: Supervised = "no", Enum(Supervised::NAMES), IMMUTABLE, BUILT, NONE;
    /// Least important kind of line that is logged.
    "loglevel" [] loglevel: LogLevel = "notice", Enum(LogLevel::NAMES), MODIFIABLE, BUILT, shell(log_to);
    /// File that log lines are appended to; empty is standard output.
    "logfile" [] logfile: Vec<u8> = "", Text(check::path), IMMUTABLE, BUILT, NONE;
    /// Shape of log lines.
    "log-format" [] log_format: LogFormat = "legacy", Enum(LogFormat::NAMES), MODIFIABLE | VALKEY, OBSERVES, NONE;
    /// Shape of the time in log lines.
    "log-timestamp-format" [] log_timestamp_format: LogTimestampFormat = "legacy", Enum(LogTimestampFormat::NAMES), MODIFIABLE | VALKEY, OBSERVES, NONE;
    /// Log lines also go to syslog.
    "syslog-enabled" [] syslog_enabled: bool = "no", Bool, IMMUTABLE, OBSERVES, NONE;
    /// Name under which syslog knows the server.
    "syslog-ident" [] syslog_ident: Vec<u8> = "redis", Text(check::any), IMMUTABLE, OBSERVES, NONE;
    /// Syslog's facility.
    "syslog-facility" [] syslog_facility: SyslogFacility = "local0", Enum(SyslogFacility::NAMES), IMMUTABLE, OBSERVES, NONE;
    /// Log lines and crash reports leave users' data out. Here they always do.
    "hide-user-data-from-log" [] hide_user_data_from_log: bool = "yes", Bool, MODIFIABLE | VALKEY, OBSERVES, NONE;
    /// A crash leaves a report in the log.
    "crash-log-enabled" [] crash_log_enabled: bool = "yes", Bool, MODIFIABLE, OBSERVES, NONE;
    /// A crash is followed by a quick test of the memory.
    "crash-memcheck-enabled" [] crash_memcheck_enabled: bool = "yes", Bool, MODIFIABLE, OFF, NONE;
    /// Number of databases that SELECT knows.
    "databases" [] databases: u32 = "16", Int(1, INT), IMMUTABLE, BUILT, NONE;
    /// The logo is shown at start even where no terminal is watching.
    "always-show-logo" [] always_show_logo: bool = "no", Bool, IMMUTABLE, BUILT, NONE;
    /// The process shows its state in the list of processes.
    "set-proc-title" [] set_proc_title: bool = "yes", Bool, IMMUTABLE, OFF, NONE;
    /// What it shows there, with `{title}`, `{listen-addr}`, `{server-mode}`, `{port}`, `{tls-port}`,
    /// `{unixsocket}` and `{config-file}` filled in.
    "proc-title-template" [] proc_title_template: Vec<u8> = "\"{title} {listen-addr} {server-mode}\"", Text(check::title_template), MODIFIABLE, OBSERVES, NONE;
    /// Locale whose order SORT and scripts compare text by.
    "locale-collate" [] locale_collate: Vec<u8> = "", Text(check::any), MODIFIABLE, TUNES, NONE;
    /// Warnings of the start-up checks that are not to stop the server.
    "ignore-warnings" [] ignore_warnings: Vec<u8> = "", Text(check::any), MODIFIABLE, OBSERVES, NONE;
    /// Place that the node reports to clients, so that they can prefer near ones.
    "availability-zone" [] availability_zone: Vec<u8> = "", Text(check::any), MODIFIABLE | VALKEY, OBSERVES, NONE;
    /// Texts of replies call the server Redis. Here they always do.
    "extended-redis-compatibility" [] extended_redis_compatibility: bool = "no", Bool, MODIFIABLE | VALKEY, OBSERVES, NONE;
    /// Whether DEBUG may be used.
    "enable-debug-command" [] enable_debug_command: ProtectedAction = "no", Enum(ProtectedAction::NAMES), IMMUTABLE, BUILT, NONE;
    /// Whether directives that name files may be changed by CONFIG SET.
    "enable-protected-configs" [] enable_protected_configs: ProtectedAction = "no", Enum(ProtectedAction::NAMES), IMMUTABLE, BUILT, NONE;
    /// Whether MODULE may be used.
    "enable-module-command" [] enable_module_command: ProtectedAction = "no", Enum(ProtectedAction::NAMES), IMMUTABLE, OFF, NONE;
    /// Seconds that stopping waits for replicas that lag.
    "shutdown-timeout" [] shutdown_timeout: u32 = "10", Int(0, INT), MODIFIABLE, BUILT, NONE;
    /// What SIGINT does, in the words of SHUTDOWN.
    "shutdown-on-sigint" [] shutdown_on_sigint: ShutdownFlags = "default", Words("default, save, nosave, now, force"), MODIFIABLE, BUILT, NONE;
    /// What SIGTERM does, in the words of SHUTDOWN.
    "shutdown-on-sigterm" [] shutdown_on_sigterm: ShutdownFlags = "default", Words("default, save, nosave, now, force"), MODIFIABLE, BUILT, NONE;
}
section "Snapshots" {
    /// Pairs of seconds and changes: a snapshot is taken when the last one is so old and so many changes have
    /// been made since. `""` takes none.
    "save" [] save: SavePoints = "3600 1 300 100 60 10000", Words("pairs of seconds and changes"), MODIFIABLE, BUILT, NONE;
    /// While the last background snapshot has failed, writes are refused.
    "stop-writes-on-bgsave-error" [] stop_writes_on_bgsave_error: bool = "yes", Bool, MODIFIABLE, BUILT, NONE;
    /// Strings in snapshots are compressed where that pays.
    "rdbcompression" [] rdbcompression: bool = "yes", Bool, MODIFIABLE, BUILT, NONE;
    /// Snapshots end with a checksum, which is verified when they are loaded.
    "rdbchecksum" [] rdbchecksum: bool = "yes", Bool, IMMUTABLE, BUILT, NONE;
    /// Name of the snapshot file in `dir`.
    "dbfilename" [] dbfilename: Vec<u8> = "dump.rdb", Text(check::dbfilename), MODIFIABLE | PROTECTED, BUILT, shell(|config| Request::DumpFile(text(&config.dbfilename)));
    /// A server without persistence removes the snapshot files that replication leaves.
    "rdb-del-sync-files" [] rdb_del_sync_files: bool = "no", Bool, MODIFIABLE, BUILT, NONE;
    /// Folder of snapshots and other files; the process works in it.
    "dir" [] dir: Vec<u8> = "./", Text(check::dir), MODIFIABLE | PROTECTED | DENY_LOADING, BUILT, shell(|config| Request::ChangeDir(text(&config.dir)));
    /// A snapshot is forced to disk as it is written instead of all at its end. A change counts from the next one on.
    "rdb-save-incremental-fsync" [] rdb_save_incremental_fsync: bool = "yes", Bool, MODIFIABLE, BUILT, shell(|config| Request::SyncAsWritten(config.rdb_save_incremental_fsync));
    /// Whether a snapshot of a newer version is tried.
    "rdb-version-check" [] rdb_version_check: RdbVersionCheck = "strict", Enum(RdbVersionCheck::NAMES), MODIFIABLE | VALKEY, TUNES, NONE;
    /// When serialized values are checked in depth. Here they always are.
    "sanitize-dump-payload" [] sanitize_dump_payload: SanitizeDumpPayload = "no", Enum(SanitizeDumpPayload::NAMES), MODIFIABLE, BUILT, NONE;
    /// For tests: microseconds to wait after each key of a snapshot.
    "rdb-key-save-delay" [] rdb_key_save_delay: i32 = "0", Int(i32::MIN as i64, INT), MODIFIABLE | HIDDEN, TUNES, NONE;
    /// For tests: microseconds to wait after each key that is loaded.
    "key-load-delay" [] key_load_delay: i32 = "0", Int(i32::MIN as i64, INT), MODIFIABLE | HIDDEN, TUNES, NONE;
    /// Bytes that are loaded between two looks at the clients.
    "loading-process-events-interval-bytes" [] loading_process_events_interval_bytes: u32 = "2097152", Int(1024, INT), MODIFIABLE | HIDDEN, TUNES, NONE;
}
section "Append-only file" {
    /// Every write is also appended to a file that is replayed at start.
    "appendonly" [] appendonly: bool = "no", Bool, MODIFIABLE | DENY_LOADING, SAFETY, NONE;
    /// Base name of the append-only files.
    "appendfilename" [] appendfilename: Vec<u8> = "appendonly.aof", Text(check::appendfilename), IMMUTABLE, TUNES, NONE;
    /// Folder of the append-only files in `dir`.
    "appenddirname" [] appenddirname: Vec<u8> = "appendonlydir", Text(check::appenddirname), IMMUTABLE, TUNES, NONE;
    /// When the append-only file is forced to disk.
    "appendfsync" [] appendfsync: AppendFsync = "everysec", Enum(AppendFsync::NAMES), MODIFIABLE, WITHOUT_AOF, NONE;
    /// The append-only file is not forced to disk while a snapshot or rewrite runs.
    "no-appendfsync-on-rewrite" [] no_appendfsync_on_rewrite: bool = "no", Bool, MODIFIABLE, TUNES, NONE;
    /// Growth in percent since the last rewrite that starts the next one; 0 never does.
    "auto-aof-rewrite-percentage" [] auto_aof_rewrite_percentage: u32 = "100", Int(0, INT), MODIFIABLE, TUNES, NONE;
    /// Size below which no rewrite starts by itself.
    "auto-aof-rewrite-min-size" [] auto_aof_rewrite_min_size: u64 = "64mb", Memory(0, LONG_SIZE), MODIFIABLE, TUNES, NONE;
    /// An append-only file that is cut short at its end is loaded up to there.
    "aof-load-truncated" [] aof_load_truncated: bool = "yes", Bool, MODIFIABLE, WITHOUT_AOF, NONE;
    /// A rewritten append-only file begins with a snapshot.
    "aof-use-rdb-preamble" [] aof_use_rdb_preamble: bool = "yes", Bool, MODIFIABLE, TUNES, NONE;
    /// The append-only file carries the time of its entries.
    "aof-timestamp-enabled" [] aof_timestamp_enabled: bool = "no", Bool, MODIFIABLE, WITHOUT_AOF, NONE;
    /// A rewrite is forced to disk as it is written instead of all at its end.
    "aof-rewrite-incremental-fsync" [] aof_rewrite_incremental_fsync: bool = "yes", Bool, MODIFIABLE, TUNES, NONE;
    /// For tests: append-only files that are no longer needed are kept.
    "aof-disable-auto-gc" [] aof_disable_auto_gc: bool = "no", Bool, MODIFIABLE | HIDDEN, TUNES, NONE;
}
section "Replication" {
    /// Host and port of the master to follow; `no one` makes the server a master.
    "replicaof" ["slaveof"] replicaof: Option<MasterAddress> = "no one", Words("host and port"), IMMUTABLE, BUILT, NONE;
    /// User name to log in to the master with.
    "masteruser" ["primaryuser"] masteruser: Vec<u8> = "", OptionalText(check::any), MODIFIABLE | SENSITIVE, BUILT, NONE;
    /// Password to log in to the master with.
    "masterauth" ["primaryauth"] masterauth: Secret = "", OptionalText(check::any), MODIFIABLE | SENSITIVE, BUILT, NONE;
    /// A replica without its master answers from the data it has.
    "replica-serve-stale-data" ["slave-serve-stale-data"] replica_serve_stale_data: bool = "yes", Bool, MODIFIABLE, BUILT, NONE;
    /// A replica refuses writes of ordinary clients.
    "replica-read-only" ["slave-read-only"] replica_read_only: bool = "yes", Bool, MODIFIABLE, BUILT, NONE;
    /// Sentinel's preference among replicas: the lowest is promoted first, 0 never.
    "replica-priority" ["slave-priority"] replica_priority: u32 = "100", Int(0, INT), MODIFIABLE, BUILT, NONE;
    /// Sentinels are told of this replica.
    "replica-announced" [] replica_announced: bool = "yes", Bool, MODIFIABLE, BUILT, NONE;
    /// Address a replica reports to its master; empty is the one its connection comes from.
    "replica-announce-ip" ["slave-announce-ip"] replica_announce_ip: Vec<u8> = "", OptionalText(check::path), MODIFIABLE, BUILT, NONE;
    /// Port a replica reports to its master; 0 is the one it listens on.
    "replica-announce-port" ["slave-announce-port"] replica_announce_port: u16 = "0", Int(0, 65535), MODIFIABLE, BUILT, NONE;
    /// A full synchronization goes straight to the replicas' sockets instead of through a file.
    "repl-diskless-sync" [] repl_diskless_sync: bool = "yes", Bool, MODIFIABLE, BUILT, NONE;
    /// Seconds that a diskless synchronization waits for more replicas to join.
    "repl-diskless-sync-delay" [] repl_diskless_sync_delay: u32 = "5", Int(0, INT), MODIFIABLE, BUILT, NONE;
    /// Number of waiting replicas that starts a diskless synchronization at once; 0 sets none.
    "repl-diskless-sync-max-replicas" [] repl_diskless_sync_max_replicas: u32 = "0", Int(0, INT), MODIFIABLE, BUILT, NONE;
    /// Whether a replica loads its master's snapshot straight from the socket. Here it always does, into a second
    /// data set that takes the place of the old one when it is whole: `swapdb`, whichever is set.
    "repl-diskless-load" [] repl_diskless_load: DisklessLoad = "disabled", Enum(DisklessLoad::NAMES), MODIFIABLE | DENY_LOADING, BUILT, NONE;
    /// A full synchronization sends snapshot and stream over two connections.
    "dual-channel-replication-enabled" [] dual_channel_replication_enabled: bool = "no", Bool, MODIFIABLE | VALKEY, TUNES, NONE;
    /// Seconds between two pings of the master to its replicas.
    "repl-ping-replica-period" ["repl-ping-slave-period"] repl_ping_replica_period: u32 = "10", Int(1, INT), MODIFIABLE, BUILT, NONE;
    /// Seconds without a sign of life after which a replication link is given up.
    "repl-timeout" [] repl_timeout: u32 = "60", Int(1, INT), MODIFIABLE, BUILT, NONE;
    /// Packets to replicas are gathered by the kernel: less traffic, up to 40 ms more delay.
    "repl-disable-tcp-nodelay" [] repl_disable_tcp_nodelay: bool = "no", Bool, MODIFIABLE, BUILT, NONE;
    /// Size of the past that a replica can catch up from without a full synchronization, at least 16kb.
    "repl-backlog-size" [] repl_backlog_size: u64 = "1mb", Memory(1, LONG_SIZE), MODIFIABLE, BUILT, Apply::Engine(Hook::BacklogSize);
    /// Seconds without a replica after which that past is dropped; 0 keeps it.
    "repl-backlog-ttl" [] repl_backlog_ttl: u64 = "3600", Int(0, LONG), MODIFIABLE, BUILT, NONE;
    /// A replica whose disk refuses writes goes on instead of stopping.
    "replica-ignore-disk-write-errors" [] replica_ignore_disk_write_errors: bool = "no", Bool, MODIFIABLE, BUILT, NONE;
    /// What happens when a replicated command fails here.
    "propagation-error-behavior" [] propagation_error_behavior: PropagationErrorBehavior = "ignore", Enum(PropagationErrorBehavior::NAMES), MODIFIABLE, BUILT, NONE;
    /// Replicas that must be near for the master to accept writes; 0 sets no condition.
    "min-replicas-to-write" ["min-slaves-to-write"] min_replicas_to_write: u32 = "0", Int(0, INT), MODIFIABLE, BUILT, NONE;
    /// Seconds since its last acknowledgement up to which a replica counts as near.
    "min-replicas-max-lag" ["min-slaves-max-lag"] min_replicas_max_lag: u32 = "10", Int(0, INT), MODIFIABLE, BUILT, NONE;
    /// A replica doesn't evict by itself; its master's deletions come over the link.
    "replica-ignore-maxmemory" ["slave-ignore-maxmemory"] replica_ignore_maxmemory: bool = "yes", Bool, MODIFIABLE, TUNES, NONE;
    /// A replica frees its old data beside its work when a full synchronization arrives. Here it always does.
    "replica-lazy-flush" ["slave-lazy-flush"] replica_lazy_flush: bool = "no", Bool, MODIFIABLE, BUILT, NONE;
    /// While data is imported from elsewhere, nothing expires and nothing is evicted.
    "import-mode" [] import_mode: bool = "no", Bool, MODIFIABLE | VALKEY, SAFETY, NONE;
}
section "Security" {
    /// Password of the default user; empty asks for none.
    "requirepass" [] requirepass: Password = "", OptionalText(check::any), MODIFIABLE | SENSITIVE, BUILT, Apply::Engine(Hook::Password);
    /// File of users and their rights.
    "aclfile" [] aclfile: Vec<u8> = "", Text(check::any), IMMUTABLE, RIGHTS, NONE;
    /// Channels that a new user may use.
    "acl-pubsub-default" [] acl_pubsub_default: AclPubsubDefault = "resetchannels", Enum(AclPubsubDefault::NAMES), MODIFIABLE, WITHOUT_USERS, NONE;
    /// Entries that ACL LOG keeps.
    "acllog-max-len" [] acllog_max_len: u64 = "128", Int(0, LONG), MODIFIABLE, OBSERVES, NONE;
}
section "Clients" {
    /// Clients that may be connected at once.
    "maxclients" [] maxclients: u32 = "10000", Int(1, UINT), MODIFIABLE, BUILT, shell(|config| Request::MaxClients(config.maxclients));
    /// When a client whose replies pile up is disconnected: class, hard limit, soft limit and its seconds.
    "client-output-buffer-limit" [] client_output_buffer_limit: OutputLimits = "normal 0 0 0 replica 256mb 64mb 60 pubsub 32mb 8mb 60", Words("class, hard limit, soft limit, seconds"), MODIFIABLE, BUILT, NONE;
    /// Bytes of requests that one client may have waiting.
    "client-query-buffer-limit" [] client_query_buffer_limit: u64 = "1gb", Memory(1 << 20, LONG_SIZE), MODIFIABLE, BUILT, NONE;
    /// Longest argument of a request.
    "proto-max-bulk-len" [] proto_max_bulk_len: u64 = "512mb", Memory(1 << 20, LONG_SIZE), MODIFIABLE, BUILT, NONE;
    /// Memory of all clients' buffers above which clients are disconnected; 0 sets no limit.
    "maxmemory-clients" [] maxmemory_clients: MemoryOrPercent = "0", SizeOrPercent, MODIFIABLE, LIMITS, NONE;
    /// Keys that are remembered for client-side caching.
    "tracking-table-max-keys" [] tracking_table_max_keys: u64 = "1000000", Int(0, LONG), MODIFIABLE, TUNES, NONE;
    /// Letters of the events that are published when keys change.
    "notify-keyspace-events" [] notify_keyspace_events: KeyspaceEvents = "", Word("letters of Ag$lshzxeKEtmdn"), MODIFIABLE, BUILT, Apply::Engine(Hook::KeyspaceEvents);
    /// Milliseconds after which a running script or function lets other clients know that the server is busy.
    "busy-reply-threshold" ["lua-time-limit"] busy_reply_threshold: u64 = "5000", Int(0, LONG), MODIFIABLE, TUNES, NONE;
    /// Scripts may use functions that were removed because they are dangerous.
    "lua-enable-insecure-api" ["lua-enable-deprecated-api"] lua_enable_insecure_api: bool = "no", Bool, MODIFIABLE | HIDDEN | PROTECTED | VALKEY, TUNES, NONE;
}
section "Memory" {
    /// Memory above which keys are evicted or writes refused; 0 sets no limit.
    "maxmemory" [] maxmemory: u64 = "0", Memory(0, u64::MAX), MODIFIABLE, LIMITS, NONE;
    /// Which keys are evicted.
    "maxmemory-policy" [] maxmemory_policy: EvictionPolicy = "noeviction", Enum(EvictionPolicy::NAMES), MODIFIABLE, TUNES, Apply::Engine(Hook::UseCounting);
    /// Keys that are compared before one is evicted.
    "maxmemory-samples" [] maxmemory_samples: u32 = "5", Int(1, INT), MODIFIABLE, TUNES, NONE;
    /// How much delay eviction may cause: 0 little, 100 any.
    "maxmemory-eviction-tenacity" [] maxmemory_eviction_tenacity: u32 = "10", Int(0, 100), MODIFIABLE, TUNES, NONE;
    /// How slowly the counter of uses grows under an LFU policy.
    "lfu-log-factor" [] lfu_log_factor: u32 = "10", Int(0, INT), MODIFIABLE, BUILT, Apply::Engine(Hook::UseCounting);
    /// Minutes after which the counter of uses is lowered under an LFU policy.
    "lfu-decay-time" [] lfu_decay_time: u32 = "1", Int(0, INT), MODIFIABLE, BUILT, Apply::Engine(Hook::UseCounting);
    /// Evicted values are freed beside the work. Here they always are.
    "lazyfree-lazy-eviction" [] lazyfree_lazy_eviction: bool = "no", Bool, MODIFIABLE, BUILT, NONE;
    /// Expired values are freed beside the work. Here they always are.
    "lazyfree-lazy-expire" [] lazyfree_lazy_expire: bool = "no", Bool, MODIFIABLE, BUILT, NONE;
    /// Values that a command replaces are freed beside the work. Here they always are, and this only decides whether RESTORE of
    /// a value that has expired is propagated as UNLINK or DEL.
    "lazyfree-lazy-server-del" [] lazyfree_lazy_server_del: bool = "no", Bool, MODIFIABLE, BUILT, NONE;
    /// DEL behaves as UNLINK. Here both free beside the work.
    "lazyfree-lazy-user-del" [] lazyfree_lazy_user_del: bool = "no", Bool, MODIFIABLE, BUILT, NONE;
    /// FLUSHALL and FLUSHDB are ASYNC unless they say otherwise. Here both free beside the work.
    "lazyfree-lazy-user-flush" [] lazyfree_lazy_user_flush: bool = "no", Bool, MODIFIABLE, BUILT, NONE;
    /// The allocator gives memory back from a thread of its own.
    "jemalloc-bg-thread" [] jemalloc_bg_thread: bool = "yes", Bool, MODIFIABLE, BUILT, shell(|config| Request::PurgeInBackground(config.jemalloc_bg_thread));
    /// The process asks the kernel for no huge pages.
    "disable-thp" [] disable_thp: bool = "yes", Bool, IMMUTABLE, BUILT, NONE;
    /// The process tells the kernel how expendable it is.
    "oom-score-adj" [] oom_score_adj: OomScoreAdj = "no", Enum(OomScoreAdj::NAMES), MODIFIABLE, TUNES, NONE;
    /// How expendable it is as a master, as a replica, and in background work.
    "oom-score-adj-values" [] oom_score_adj_values: OomScores = "0 200 800", Words("three numbers from -2000 to 2000"), MODIFIABLE, TUNES, NONE;
    /// Memory is moved together while the server runs.
    "activedefrag" [] activedefrag: bool = "no", Bool, MODIFIABLE, TUNES, NONE;
    /// Waste below which nothing is moved.
    "active-defrag-ignore-bytes" [] active_defrag_ignore_bytes: u64 = "100mb", Memory(1, LONG_SIZE), MODIFIABLE, TUNES, NONE;
    /// Waste in percent below which nothing is moved.
    "active-defrag-threshold-lower" [] active_defrag_threshold_lower: u32 = "10", Int(0, 1000), MODIFIABLE, TUNES, NONE;
    /// Waste in percent at which most effort is spent.
    "active-defrag-threshold-upper" [] active_defrag_threshold_upper: u32 = "100", Int(0, 1000), MODIFIABLE, TUNES, NONE;
    /// Least percent of the processor that is spent.
    "active-defrag-cycle-min" [] active_defrag_cycle_min: u32 = "1", Int(1, 99), MODIFIABLE, TUNES, NONE;
    /// Most percent of the processor that is spent.
    "active-defrag-cycle-max" [] active_defrag_cycle_max: u32 = "25", Int(1, 99), MODIFIABLE, TUNES, NONE;
    /// Microseconds of one slice of that work.
    "active-defrag-cycle-us" [] active_defrag_cycle_us: u32 = "500", Int(0, 100_000), MODIFIABLE | VALKEY, TUNES, NONE;
    /// Elements above which a collection is moved in several slices.
    "active-defrag-max-scan-fields" [] active_defrag_max_scan_fields: u64 = "1000", Int(1, LONG), MODIFIABLE, TUNES, NONE;
}
section "Cluster" {
    /// The server is a node of a cluster.
    "cluster-enabled" [] cluster_enabled: bool = "no", Bool, IMMUTABLE, SAFETY, NONE;
    /// File in which the node keeps what it knows of the cluster.
    "cluster-config-file" [] cluster_config_file: Vec<u8> = "nodes.conf", Text(check::cluster_config_file), IMMUTABLE, TUNES, NONE;
    /// Milliseconds without contact after which a node counts as failing.
    "cluster-node-timeout" [] cluster_node_timeout: u64 = "15000", Int(0, LONG), MODIFIABLE, TUNES, NONE;
    /// TCP port of the bus; 0 is the client port plus 10000.
    "cluster-port" [] cluster_port: u16 = "0", Int(0, 65535), IMMUTABLE, TUNES, NONE;
    /// How much older than the node timeout a replica's data may be for a failover, as a factor; 0 sets no limit.
    "cluster-replica-validity-factor" ["cluster-slave-validity-factor"] cluster_replica_validity_factor: u32 = "10", Int(0, INT), MODIFIABLE, TUNES, NONE;
    /// Replicas a master must keep when one of them moves to a master that has none.
    "cluster-migration-barrier" [] cluster_migration_barrier: u32 = "1", Int(0, INT), MODIFIABLE, TUNES, NONE;
    /// Replicas move to masters that have none.
    "cluster-allow-replica-migration" [] cluster_allow_replica_migration: bool = "yes", Bool, MODIFIABLE, TUNES, NONE;
    /// The cluster serves nothing while any slot is without a node.
    "cluster-require-full-coverage" [] cluster_require_full_coverage: bool = "yes", Bool, MODIFIABLE, TUNES, NONE;
    /// This replica doesn't take its master's place by itself.
    "cluster-replica-no-failover" ["cluster-slave-no-failover"] cluster_replica_no_failover: bool = "no", Bool, MODIFIABLE, TUNES, NONE;
    /// Reads are served while the cluster is down.
    "cluster-allow-reads-when-down" [] cluster_allow_reads_when_down: bool = "no", Bool, MODIFIABLE, TUNES, NONE;
    /// Sharded channels are served while the cluster is down.
    "cluster-allow-pubsubshard-when-down" [] cluster_allow_pubsubshard_when_down: bool = "yes", Bool, MODIFIABLE, TUNES, NONE;
    /// Bytes that may wait on one link of the bus; 0 sets no limit.
    "cluster-link-sendbuf-limit" [] cluster_link_sendbuf_limit: u64 = "0", Memory(0, u64::MAX), MODIFIABLE, TUNES, NONE;
    /// Address that is announced to other nodes.
    "cluster-announce-ip" [] cluster_announce_ip: Vec<u8> = "", OptionalText(check::any), MODIFIABLE, TUNES, NONE;
    /// IPv4 address that is announced to clients.
    "cluster-announce-client-ipv4" [] cluster_announce_client_ipv4: Vec<u8> = "", OptionalText(check::ipv4), MODIFIABLE | VALKEY, TUNES, NONE;
    /// IPv6 address that is announced to clients.
    "cluster-announce-client-ipv6" [] cluster_announce_client_ipv6: Vec<u8> = "", OptionalText(check::ipv6), MODIFIABLE | VALKEY, TUNES, NONE;
    /// Client port that is announced.
    "cluster-announce-port" [] cluster_announce_port: u16 = "0", Int(0, 65535), MODIFIABLE, TUNES, NONE;
    /// Client port for TLS that is announced.
    "cluster-announce-tls-port" [] cluster_announce_tls_port: u16 = "0", Int(0, 65535), MODIFIABLE, TUNES, NONE;
    /// Port of the bus that is announced.
    "cluster-announce-bus-port" [] cluster_announce_bus_port: u16 = "0", Int(0, 65535), MODIFIABLE, TUNES, NONE;
    /// Host name that is announced.
    "cluster-announce-hostname" [] cluster_announce_hostname: Vec<u8> = "", OptionalText(check::hostname), MODIFIABLE, TUNES, NONE;
    /// Name of the node that is shown to people.
    "cluster-announce-human-nodename" [] cluster_announce_human_nodename: Vec<u8> = "", OptionalText(check::node_name), MODIFIABLE, TUNES, NONE;
    /// Kind of address that clients are sent to.
    "cluster-preferred-endpoint-type" [] cluster_preferred_endpoint_type: ClusterEndpointType = "ip", Enum(ClusterEndpointType::NAMES), MODIFIABLE, TUNES, NONE;
    /// For tests: milliseconds between two pings of the bus; 0 is the usual pace.
    "cluster-ping-interval" [] cluster_ping_interval: u64 = "0", Int(0, LONG), MODIFIABLE | HIDDEN, TUNES, NONE;
    /// Seconds for which a forgotten node is not learned again.
    "cluster-blacklist-ttl" [] cluster_blacklist_ttl: u64 = "60", Int(0, LONG), MODIFIABLE | VALKEY, TUNES, NONE;
    /// Milliseconds after which a manual failover is given up.
    "cluster-manual-failover-timeout" [] cluster_manual_failover_timeout: u32 = "5000", Int(1, INT), MODIFIABLE | VALKEY, TUNES, NONE;
    /// Figures are kept for each slot.
    "cluster-slot-stats-enabled" [] cluster_slot_stats_enabled: bool = "no", Bool, MODIFIABLE | VALKEY, OBSERVES, NONE;
}
section "Encodings" {
    /// Entries up to which a hash keeps its compact form.
    "hash-max-listpack-entries" ["hash-max-ziplist-entries"] hash_max_listpack_entries: u64 = "512", Int(0, LONG), MODIFIABLE, TUNES, NONE;
    /// Size of a field or value up to which a hash keeps its compact form.
    "hash-max-listpack-value" ["hash-max-ziplist-value"] hash_max_listpack_value: u64 = "64", Memory(0, LONG_SIZE), MODIFIABLE, TUNES, NONE;
    /// Size of one node of a list: elements if positive, -1 to -5 for 4, 8, 16, 32 and 64 kb.
    "list-max-listpack-size" ["list-max-ziplist-size"] list_max_listpack_size: i32 = "-2", Int(i32::MIN as i64, INT), MODIFIABLE, TUNES, NONE;
    /// Nodes at each end of a list that stay uncompressed; 0 compresses none.
    "list-compress-depth" [] list_compress_depth: u32 = "0", Int(0, INT), MODIFIABLE, TUNES, NONE;
    /// Elements up to which a set of integers keeps its compact form.
    "set-max-intset-entries" [] set_max_intset_entries: u64 = "512", Int(0, LONG), MODIFIABLE, TUNES, NONE;
    /// Elements up to which any other set keeps its compact form.
    "set-max-listpack-entries" [] set_max_listpack_entries: u64 = "128", Int(0, LONG), MODIFIABLE, TUNES, NONE;
    /// Size of an element up to which such a set keeps its compact form.
    "set-max-listpack-value" [] set_max_listpack_value: u64 = "64", Int(0, LONG), MODIFIABLE, TUNES, NONE;
    /// Elements up to which a sorted set keeps its compact form.
    "zset-max-listpack-entries" ["zset-max-ziplist-entries"] zset_max_listpack_entries: u64 = "128", Int(0, LONG), MODIFIABLE, TUNES, NONE;
    /// Size of an element up to which a sorted set keeps its compact form.
    "zset-max-listpack-value" ["zset-max-ziplist-value"] zset_max_listpack_value: u64 = "64", Memory(0, LONG_SIZE), MODIFIABLE, TUNES, NONE;
    /// Size up to which a HyperLogLog keeps its sparse form.
    "hll-sparse-max-bytes" [] hll_sparse_max_bytes: u64 = "3000", Memory(0, LONG_SIZE), MODIFIABLE, TUNES, NONE;
    /// Size of one node of a stream; 0 sets no limit.
    "stream-node-max-bytes" [] stream_node_max_bytes: u64 = "4096", Memory(0, LONG_SIZE), MODIFIABLE, TUNES, NONE;
    /// Entries in one node of a stream; 0 sets no limit.
    "stream-node-max-entries" [] stream_node_max_entries: u64 = "100", Int(0, LONG), MODIFIABLE, TUNES, NONE;
}
section "Work in the background" {
    /// Rounds of background work per second, from 1 to 500; numbers beyond are brought into range.
    "hz" [] hz: u32 = "10", Int(0, INT), MODIFIABLE, BUILT, Apply::Engine(Hook::CronPace);
    /// The pace rises with the number of clients.
    "dynamic-hz" [] dynamic_hz: bool = "yes", Bool, MODIFIABLE, BUILT, NONE;
    /// Tables are resized beside the work. Here they never need a rehash.
    "activerehashing" [] activerehashing: bool = "yes", Bool, MODIFIABLE, BUILT, NONE;
    /// How hard expired keys are looked for, from 1 to 10.
    "active-expire-effort" [] active_expire_effort: u32 = "1", Int(1, 10), MODIFIABLE, BUILT, NONE;
    /// Threads that read and write for the clients.
    "io-threads" [] io_threads: u32 = "1", Int(1, 128), IMMUTABLE, TUNES, NONE;
    /// These threads also read.
    "io-threads-do-reads" [] io_threads_do_reads: bool = "no", Bool, IMMUTABLE, TUNES, NONE;
    /// Events in one round that call for one more of these threads.
    "events-per-io-thread" [] events_per_io_thread: u32 = "2", Int(0, INT), MODIFIABLE | HIDDEN | VALKEY, TUNES, NONE;
    /// Commands whose keys are fetched into the cache together.
    "prefetch-batch-max-size" [] prefetch_batch_max_size: u32 = "16", Int(0, 128), MODIFIABLE | VALKEY, TUNES, NONE;
    /// Processors of the main thread.
    "server_cpulist" ["server-cpulist"] server_cpulist: Vec<u8> = "", OptionalText(check::any), IMMUTABLE, TUNES, NONE;
    /// Processors of the background threads.
    "bio_cpulist" ["bio-cpulist"] bio_cpulist: Vec<u8> = "", OptionalText(check::any), IMMUTABLE, TUNES, NONE;
    /// Processors of a rewrite of the append-only file.
    "aof_rewrite_cpulist" ["aof-rewrite-cpulist"] aof_rewrite_cpulist: Vec<u8> = "", OptionalText(check::any), IMMUTABLE, TUNES, NONE;
    /// Processors of a background snapshot.
    "bgsave_cpulist" ["bgsave-cpulist"] bgsave_cpulist: Vec<u8> = "", OptionalText(check::any), IMMUTABLE, TUNES, NONE;
    /// For debugging: milliseconds after which a stuck server logs where it is.
    "watchdog-period" [] watchdog_period: u32 = "0", Int(0, INT), MODIFIABLE | HIDDEN, OBSERVES, NONE;
    /// For tests: a panic ends with exit instead of a signal.
    "use-exit-on-panic" [] use_exit_on_panic: bool = "no", Bool, MODIFIABLE | HIDDEN, TUNES, NONE;
    /// For tests: expensive assertions are checked.
    "enable-debug-assert" [] enable_debug_assert: bool = "no", Bool, IMMUTABLE | HIDDEN | VALKEY, OBSERVES, NONE;
    /// For tests: a text that a crash report repeats.
    "debug-context" [] debug_context: Vec<u8> = "", Text(check::any), MODIFIABLE | HIDDEN | VALKEY, OBSERVES, NONE;
}
section "Observing" {
    /// Microseconds from which a command is kept in the slow log; 0 keeps all, -1 none.
    "slowlog-log-slower-than" ["commandlog-execution-slower-than"] slowlog_log_slower_than: i64 = "10000", Int(-1, LONG), MODIFIABLE, OBSERVES, NONE;
    /// Entries that the slow log keeps.
    "slowlog-max-len" ["commandlog-slow-execution-max-len"] slowlog_max_len: u64 = "128", Int(0, LONG), MODIFIABLE, OBSERVES, NONE;
    /// Bytes from which a request is kept in the command log; -1 keeps none.
    "commandlog-request-larger-than" [] commandlog_request_larger_than: i64 = "1048576", Int(-1, LONG), MODIFIABLE | VALKEY, OBSERVES, NONE;
    /// Large requests that the command log keeps.
    "commandlog-large-request-max-len" [] commandlog_large_request_max_len: u64 = "128", Int(0, LONG), MODIFIABLE | VALKEY, OBSERVES, NONE;
    /// Bytes from which a reply is kept in the command log; -1 keeps none.
    "commandlog-reply-larger-than" [] commandlog_reply_larger_than: i64 = "1048576", Int(-1, LONG), MODIFIABLE | VALKEY, OBSERVES, NONE;
    /// Large replies that the command log keeps.
    "commandlog-large-reply-max-len" [] commandlog_large_reply_max_len: u64 = "128", Int(0, LONG), MODIFIABLE | VALKEY, OBSERVES, NONE;
    /// Milliseconds from which the latency monitor keeps an event; 0 keeps none.
    "latency-monitor-threshold" [] latency_monitor_threshold: u64 = "0", Int(0, LONG), MODIFIABLE, OBSERVES, NONE;
    /// The latency of each command is counted.
    "latency-tracking" [] latency_tracking: bool = "yes", Bool, MODIFIABLE, OFF, NONE;
    /// Percentiles of it that INFO shows.
    "latency-tracking-info-percentiles" [] latency_tracking_info_percentiles: Percentiles = "50 99 99.9", Words("numbers from 0 to 100"), MODIFIABLE, OBSERVES, NONE;
}
}
