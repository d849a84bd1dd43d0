//! The interface between the machine and its driver.

use std::net::IpAddr;

use russet_protocol::Reply;

/// The time of two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a monotonic clock: all timers.
    pub mono_ms: u64,
    /// Milliseconds since 1970 of the wall clock, which may jump: only for what people read.
    pub wall_ms: i64,
}

/// A connection of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// A run of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScriptId(pub u64);

/// How a script ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptOutcome {
    /// With this status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
    /// It could not be started.
    NotStarted(String),
}

/// Tells whether there is a program at a path that may be run. Only the driver can look; by default there is.
#[derive(Clone, Copy, Debug)]
pub struct Programs(pub fn(&str) -> bool);

impl Default for Programs {
    fn default() -> Programs {
        Programs(|_| true)
    }
}

/// An event.
#[derive(Debug)]
pub enum Input<'a> {
    /// A connection is open.
    Connected {
        /// The connection.
        link: LinkId,
        /// Our address, as the connection has it.
        local: Option<IpAddr>,
        /// The peer's address.
        peer: Option<IpAddr>,
    },
    /// A connection could not be opened.
    NotConnected {
        /// The connection.
        link: LinkId,
        /// The error.
        error: String,
    },
    /// A connection is closed.
    Closed {
        /// The connection.
        link: LinkId,
    },
    /// A reply or a pushed message.
    Reply {
        /// The connection.
        link: LinkId,
        /// The reply.
        reply: Reply<'a>,
    },
    /// The state of a [`Output::Save`] is on disk, or cannot be saved.
    Saved {
        /// The version of the state.
        version: u64,
        /// The error.
        result: Result<(), String>,
    },
    /// A script has been started.
    ScriptStarted {
        /// Its run.
        id: ScriptId,
        /// Its process.
        pid: u32,
    },
    /// A script has ended, or could not be started.
    ScriptEnded {
        /// Its run.
        id: ScriptId,
        /// How.
        outcome: ScriptOutcome,
    },
    /// A deadline has passed.
    Tick,
}

/// The level of an event; [`Level::Warning`] runs notification scripts, [`Level::Debug`] is not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For debugging.
    Debug,
    /// Rarely useful.
    Verbose,
    /// What an operator wants to see.
    Notice,
    /// What an operator must see.
    Warning,
}

/// What the machine wants.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a connection; [`Input::Connected`] or [`Input::NotConnected`] follows.
    Connect {
        /// The connection.
        link: LinkId,
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// Send bytes on an open connection.
    Send {
        /// The connection.
        link: LinkId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Close a connection; nothing more comes from it.
    Close {
        /// The connection.
        link: LinkId,
    },
    /// Write the state ([`Sentinel::state_lines`](crate::Sentinel::state_lines)) to disk; [`Input::Saved`] follows.
    Save {
        /// Its version.
        version: u64,
    },
    /// Publish a message to the subscribers of this process.
    Publish {
        /// The channel: the event's name.
        channel: String,
        /// The message.
        message: String,
    },
    /// Write a line to the log.
    Log {
        /// Its level.
        level: Level,
        /// The line.
        text: String,
    },
    /// Run a script; [`Input::ScriptStarted`] and [`Input::ScriptEnded`] follow.
    RunScript {
        /// The run.
        id: ScriptId,
        /// Its path.
        path: String,
        /// Its arguments.
        arguments: Vec<String>,
    },
    /// Kill a script that runs for too long.
    KillScript {
        /// The run.
        id: ScriptId,
    },
    /// Replace the text of the journal's file.
    SaveJournal,
    /// End the process at once: a simulated crash.
    Exit(i32),
}
