//! The connections that MIGRATE keeps: one for each target, for as long as it is used.

use russet_protocol::{ReplyLimits, ReplyParser};

use crate::ids::Handle;

/// Maximum number of connections, as in Redis.
pub(super) const SOCKETS_MAX: usize = 64;

/// Microseconds after which a connection is closed that was not used, as in Redis.
const IDLE_US: u64 = 10_000_000;

/// Limits of replies: a line is expected.
pub(super) const LIMITS: ReplyLimits = ReplyLimits {
    reply_len_max: 16 * 1024,
    line_len_max: 8 * 1024,
    depth_max: 4,
    skips_blank_lines: false,
};

/// A connection to a target.
#[derive(Debug)]
pub(super) struct Socket {
    pub link: Handle,
    host: String,
    port: String,
    /// Whether it is connected.
    pub is_open: bool,
    /// The database that is selected there; none: unknown.
    pub db: Option<i64>,
    /// When it was used last.
    pub used_us: u64,
    pub parser: ReplyParser,
}

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Sockets(Vec<Socket>);

impl Sockets {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn links(&self) -> Vec<Handle> {
        self.0.iter().map(|socket| socket.link).collect()
    }

    /// Finds the connection to a target by what the client calls it.
    pub fn find(&self, host: &str, port: &str) -> Option<&Socket> {
        self.0.iter().find(|socket| socket.host == host && socket.port == port)
    }

    pub fn get(&self, link: Handle) -> Option<&Socket> {
        self.0.iter().find(|socket| socket.link == link)
    }

    pub fn get_mut(&mut self, link: Handle) -> Option<&mut Socket> {
        self.0.iter_mut().find(|socket| socket.link == link)
    }

    /// Removes the connection that was used least recently if there is no room for another. Returns it, to be
    /// closed.
    pub fn make_room(&mut self) -> Option<Handle> {
        if self.len() < SOCKETS_MAX {
            return None;
        }
        let oldest = self.0.iter().min_by_key(|socket| socket.used_us)?.link;
        self.remove(oldest);
        Some(oldest)
    }

    pub fn add(&mut self, link: Handle, host: &str, port: &str, now_us: u64) {
        self.0.push(Socket {
            link,
            host: host.to_owned(),
            port: port.to_owned(),
            is_open: false,
            db: None,
            used_us: now_us,
            parser: ReplyParser::default(),
        });
    }

    pub fn remove(&mut self, link: Handle) {
        self.0.retain(|socket| socket.link != link);
    }

    /// Removes the connections that nobody used for long, except the one that is used now.
    pub fn take_idle(&mut self, now_us: u64, used: Option<Handle>) -> Vec<Handle> {
        let is_idle =
            |socket: &Socket| socket.used_us + IDLE_US <= now_us && Some(socket.link) != used;
        let idle: Vec<Handle> =
            self.0.iter().filter(|socket| is_idle(socket)).map(|socket| socket.link).collect();
        self.0.retain(|socket| !is_idle(socket));
        idle
    }

    /// Returns when the next connection is to be closed.
    pub fn next_idle(&self, used: Option<Handle>) -> Option<u64> {
        let unused = self.0.iter().filter(|socket| Some(socket.link) != used);
        unused.map(|socket| socket.used_us + IDLE_US).min()
    }
}
