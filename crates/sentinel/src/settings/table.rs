//! The table of a Sentinel's statements: one row adds a statement.
//!
//! ```text
//!   row ─▶ read.rs    a line of the file, in its order or not       ─▶ Settings
//!       ─▶ set.rs     SENTINEL SET, SENTINEL CONFIG GET and SET     ─▶ Settings of a master, of all
//!       ─▶ write.rs   Settings                                      ─▶ lines, in the order of the table
//!       ─▶ docs/config.md, sentinel.conf
//! ```
//!
//! The order is that in which stock Sentinels write the lines: those about all masters, then all of each master, then the
//! rest about all.

use super::value::{Field, Kind};
use super::{Globals, MasterSettings};

/// It is a statement of the configuration file.
pub const FILE: u8 = 1;
/// SENTINEL SET changes it.
pub const SET: u8 = 1 << 1;
/// SENTINEL CONFIG GET returns it, and SENTINEL CONFIG SET changes it.
pub const CONFIG: u8 = 1 << 2;
/// The Sentinel maintains it: state, which is written in any case.
pub const STATE: u8 = 1 << 3;
/// Its value is kept out of events and logs.
pub const SECRET: u8 = 1 << 4;
/// Connections that use it are made anew after a change.
pub const RECONNECT: u8 = 1 << 5;
/// Stock Sentinels do not know it.
pub const RUSSET: u8 = 1 << 6;
/// It is written as a comment, `#sentinel …`: stock Sentinels refuse a file with statements that they do not know, and keep
/// comments. One that cannot be understood is passed over.
pub const COMMENT: u8 = 1 << 7;

/// What a statement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// All masters.
    All,
    /// A master, whose name is the first argument.
    Master,
}

/// A statement.
#[derive(Debug)]
pub struct Statement {
    /// Its name.
    pub name: &'static str,
    /// Another name, which is also read.
    pub other_name: Option<&'static str>,
    /// What it is about.
    pub subject: Subject,
    /// The names of its arguments, without that of the master.
    pub arguments: &'static [&'static str],
    /// Values for its arguments, other than the defaults.
    pub example: &'static str,
    /// [`FILE`], [`SET`] and so on.
    pub flags: u8,
    /// What it does.
    pub doc: &'static str,
    pub(super) kind: Kind,
}

impl Statement {
    /// Finds a row by one of its names, in any case.
    pub fn find(name: &str) -> Option<&'static Statement> {
        STATEMENTS.iter().find(|row| row.names().any(|known| known.eq_ignore_ascii_case(name)))
    }

    /// Iterates over its names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.other_name)
    }

    /// Whether it has one of these flags.
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }
}

/// Returns how a field is read and written.
macro_rules! field {
    ($name:ident) => {
        Field { get: |settings| &settings.$name, edit: |settings| &mut settings.$name }
    };
}

/// What the rows about all masters share.
const OF_ALL: Statement = Statement {
    name: "",
    other_name: None,
    subject: Subject::All,
    arguments: &["value"],
    example: "",
    flags: FILE | CONFIG,
    doc: "",
    kind: Kind::MyId,
};

/// What the rows about a master share.
const OF_MASTER: Statement =
    Statement { subject: Subject::Master, flags: FILE | SET, kind: Kind::Monitor, ..OF_ALL };

/// The error of a script's path in a file; SENTINEL SET replies with it too.
const NO_NOTIFICATION: &str = "Notification script seems non existing or non executable.";
const NO_RECONFIG: &str = "Client reconfiguration script seems non existing or non executable.";

/// All statements, in the order in which they are written.
pub static STATEMENTS: &[Statement] = &[
    Statement {
        name: "myid",
        arguments: &["id"],
        example: "82510b605994efb1316983315216e97f61da4dfb",
        flags: FILE | STATE,
        doc: "The id of this Sentinel: 40 hexadecimal digits, drawn at the first start. Others know it by this id, so no \
              two may have the same: when you copy a configuration, leave it out.",
        kind: Kind::MyId,
        ..OF_ALL
    },
    Statement {
        name: "deny-scripts-reconfig",
        arguments: &["yes|no"],
        example: "no",
        flags: FILE,
        doc: "Whether SENTINEL SET must not change scripts. Otherwise who can connect to this Sentinel can run any program \
              as its user.",
        kind: Kind::Flag(
            field!(deny_scripts_reconfig),
            "Please specify yes or no for the deny-scripts-reconfig options.",
        ),
        ..OF_ALL
    },
    Statement {
        name: "resolve-hostnames",
        arguments: &["yes|no"],
        example: "yes",
        doc: "Whether servers and Sentinels may have host names in place of IP addresses. A name is looked up for each \
              connection, so its address may change.",
        kind: Kind::Flag(
            field!(resolve_hostnames),
            "Please specify yes or no for the resolve-hostnames option.",
        ),
        ..OF_ALL
    },
    Statement {
        name: "announce-hostnames",
        arguments: &["yes|no"],
        example: "yes",
        doc: "Whether clients, replicas and other Sentinels are told the host names of servers in place of their IP \
              addresses, where names are known.",
        kind: Kind::Flag(
            field!(announce_hostnames),
            "Please specify yes or no for the announce-hostnames option.",
        ),
        ..OF_ALL
    },
    Statement {
        name: "monitor",
        arguments: &["host", "port", "quorum"],
        example: "127.0.0.1 6379 2",
        flags: FILE,
        doc: "Watches the master of this name. After a failover the line has the address of the new master. The quorum is \
              the number of Sentinels that must agree that it is down before a failover is tried; to elect who leads it \
              takes a majority of all Sentinels in any case.",
        kind: Kind::Monitor,
        ..OF_MASTER
    },
    Statement {
        name: "quorum",
        arguments: &["count"],
        example: "3",
        flags: SET,
        doc: "The quorum of a master, which the file has in the statement monitor.",
        kind: Kind::Count(field!(quorum), "Quorum must be 1 or greater."),
        ..OF_MASTER
    },
    Statement {
        name: "down-after-milliseconds",
        arguments: &["milliseconds"],
        example: "5000",
        doc: "A server or Sentinel that has not sent a valid reply for this long is down, in the judgement of this Sentinel \
              alone (+sdown).",
        kind: Kind::Period(field!(down_after_ms)),
        ..OF_MASTER
    },
    Statement {
        name: "failover-timeout",
        arguments: &["milliseconds"],
        example: "60000",
        doc: "Limits the promotion of the chosen replica, and the time for the other replicas to follow it. After a failover \
              was tried, the next try for this master waits twice as long, and so does a Sentinel that has voted for another. \
              A replica that follows the wrong master is repaired after it, too.",
        kind: Kind::Period(field!(failover_timeout_ms)),
        ..OF_MASTER
    },
    Statement {
        name: "parallel-syncs",
        arguments: &["count"],
        example: "3",
        doc: "How many replicas are told at once to follow a new master. Those that need a full synchronization do not \
              serve clients meanwhile if their replica-serve-stale-data is no.",
        kind: Kind::Count(field!(parallel_syncs), "Invalid parallel-syncs."),
        ..OF_MASTER
    },
    Statement {
        name: "master-reboot-down-after-period",
        other_name: Some("primary-reboot-down-after-period"),
        arguments: &["milliseconds"],
        example: "60000",
        doc: "A master that was restarted and answers -LOADING for longer than this is down. 0: such a reply is a valid one.",
        kind: Kind::OptionalPeriod(field!(reboot_down_after_ms)),
        ..OF_MASTER
    },
    Statement {
        name: "replica-forget-after",
        arguments: &["milliseconds"],
        example: "86400000",
        flags: FILE | SET | RUSSET,
        doc: "A replica that has been down for longer than this and that its master does not list is forgotten. 0: never, \
              only by SENTINEL RESET.",
        kind: Kind::OptionalPeriod(field!(replica_forget_after_ms)),
        ..OF_MASTER
    },
    Statement {
        name: "sentinel-forget-after",
        arguments: &["milliseconds"],
        example: "86400000",
        flags: FILE | SET | RUSSET,
        doc: "A Sentinel that has been down for longer than this is forgotten and does not count for majorities any more: one \
              at a time, and only while all others answer. 0: never, only by SENTINEL RESET.",
        kind: Kind::OptionalPeriod(field!(sentinel_forget_after_ms)),
        ..OF_MASTER
    },
    Statement {
        name: "notification-script",
        arguments: &["path"],
        example: "/var/lib/russet/notify.sh",
        doc: "A program that is run for each event of level warning, with the event's name and its text as arguments.",
        kind: Kind::Script(field!(notification_script), NO_NOTIFICATION),
        ..OF_MASTER
    },
    Statement {
        name: "client-reconfig-script",
        arguments: &["path"],
        example: "/var/lib/russet/reconfig.sh",
        doc: "A program that is run when the master has changed, with the arguments: name of the master, leader or observer, \
              the word start, old host, old port, new host, new port.",
        kind: Kind::Script(field!(client_reconfig_script), NO_RECONFIG),
        ..OF_MASTER
    },
    Statement {
        name: "auth-pass",
        arguments: &["password"],
        example: "secret",
        flags: FILE | SET | SECRET | RECONNECT,
        doc: "Password for the master and its replicas: their requirepass, which must be the same.",
        kind: Kind::Text(field!(auth_pass)),
        ..OF_MASTER
    },
    Statement {
        name: "auth-user",
        arguments: &["user"],
        example: "sentinel",
        flags: FILE | SET | RECONNECT,
        doc: "User for the master and its replicas, with the password auth-pass. Without it the default user is meant.",
        kind: Kind::Text(field!(auth_user)),
        ..OF_MASTER
    },
    Statement {
        name: "config-epoch",
        arguments: &["epoch"],
        example: "7",
        flags: FILE | STATE,
        doc: "Epoch of the failover that made this server the master. Sentinels follow the configuration with the greatest one.",
        kind: Kind::Epoch(field!(config_epoch)),
        ..OF_MASTER
    },
    Statement {
        name: "leader-epoch",
        arguments: &["epoch"],
        example: "8",
        flags: FILE | STATE,
        doc: "Epoch of this Sentinel's last vote about the master: it does not vote in this or an earlier one again.",
        kind: Kind::Epoch(field!(leader_epoch)),
        ..OF_MASTER
    },
    Statement {
        name: "known-replica",
        other_name: Some("known-slave"),
        arguments: &["host", "port"],
        example: "127.0.0.1 6380",
        flags: FILE | STATE,
        doc: "A replica of this master.",
        kind: Kind::KnownReplica,
        ..OF_MASTER
    },
    Statement {
        name: "known-sentinel",
        arguments: &["host", "port", "id"],
        example: "127.0.0.1 26380 92510b605994efb1316983315216e97f61da4dfb",
        flags: FILE | STATE,
        doc: "Another Sentinel that watches this master, with its id.",
        kind: Kind::KnownSentinel,
        ..OF_MASTER
    },
    Statement {
        name: "known-lineage",
        arguments: &["epoch", "age", "id"],
        example: "7 0 8c6f8a2e4d1b0f3a5c7e9d2b4f6a8c0e1d3f5b79",
        flags: FILE | STATE | RUSSET | COMMENT,
        doc: "A replication id of the master's data, with the epoch of the configuration in which it was, and its age: 0 for \
              the latest, 1 for the one before, and so on. If the master is down when this Sentinel starts, only a replica with that data is promoted. It is kept in a comment, which stock Sentinels pass over.",
        kind: Kind::KnownLineage,
        ..OF_MASTER
    },
    Statement {
        name: "rename-command",
        arguments: &["command", "name"],
        example: "CONFIG GUESSME",
        doc: "The name of a command on this master and its replicas, if it was renamed there. May be repeated.",
        kind: Kind::Renamed,
        ..OF_MASTER
    },
    Statement {
        name: "current-epoch",
        arguments: &["epoch"],
        example: "8",
        flags: FILE | STATE,
        doc: "The greatest epoch that this Sentinel has seen.",
        kind: Kind::CurrentEpoch,
        ..OF_ALL
    },
    Statement {
        name: "announce-ip",
        arguments: &["host"],
        example: "203.0.113.7",
        doc: "Address at which other Sentinels reach this one, if it is not that of its connections: behind NAT, or in a \
              container with mapped ports.",
        kind: Kind::TextOfAll(field!(announce_ip)),
        ..OF_ALL
    },
    Statement {
        name: "announce-port",
        arguments: &["port"],
        example: "36379",
        doc: "Port at which other Sentinels reach this one, if it is not the one it listens on. 0: that one.",
        kind: Kind::Port(field!(announce_port)),
        ..OF_ALL
    },
    Statement {
        name: "sentinel-user",
        arguments: &["user"],
        example: "sentinel",
        flags: FILE | CONFIG | RECONNECT,
        doc: "User for connections to other Sentinels, with the password sentinel-pass. Without it the default user is \
              meant.",
        kind: Kind::TextOfAll(field!(sentinel_user)),
        ..OF_ALL
    },
    Statement {
        name: "sentinel-pass",
        arguments: &["password"],
        example: "secret",
        flags: FILE | CONFIG | SECRET | RECONNECT,
        doc: "Password for connections to other Sentinels: their requirepass. Without it this Sentinel's own requirepass is \
              used.",
        kind: Kind::TextOfAll(field!(sentinel_pass)),
        ..OF_ALL
    },
];

impl Statement {
    /// Returns its default as text; empty if there is none.
    pub fn default_text(&self) -> String {
        match self.subject {
            _ if self.has(STATE) || !self.has(FILE) => String::new(),
            Subject::All => self.value(&Globals::default()),
            Subject::Master => {
                self.value_of(&MasterSettings::new("", "", 0, 1)).unwrap_or_default()
            }
        }
    }
}
