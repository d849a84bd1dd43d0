//! A connection as a line of text, in the form of CLIENT LIST, which log lines use too.

use russet_protocol::Protocol;

use super::client::Client;
use super::subscriptions::Kind as Subscribed;
use crate::io::Endpoints;

impl Client {
    /// Describes the connection. `running_bytes` is the size of the command that it runs now.
    ///
    /// Shows the index of the connection where Redis shows its file descriptor, which the engine
    /// does not know.
    pub fn describe(&self, now_us: u64, running_bytes: usize) -> String {
        let seconds = |since_us: u64| now_us.saturating_sub(since_us) / 1_000_000;
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let transaction = &self.transaction;
        let multi = if transaction.open { transaction.queue.len() as i64 } else { -1 };
        let queued: usize = transaction.queue.iter().map(|queued| queued.bytes.len()).sum();
        let wire = &self.wire;
        let (reply, reply_room) = (wire.outbox.tail_len(), wire.outbox.tail_capacity());
        let resp = match self.protocol {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        };
        let user = if self.is_master_link() { "(superuser)" } else { "default" };
        format!(
            "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} \
             ssub={} multi={multi} watch={} qbuf={} qbuf-free={} argv-mem={running_bytes} \
             multi-mem={queued} rbs={reply_room} rbp={reply_room} obl={reply} oll={} omem={} \
             tot-mem={} events={} cmd={} user={user} redir=-1 resp={resp} lib-name={} lib-ver={}",
            self.id,
            self.peer(),
            self.local(),
            self.handle.index,
            lossy(&self.name),
            seconds(self.connected_us),
            seconds(self.last_interaction_us),
            self.letters(),
            self.db,
            self.subscriptions.of(Subscribed::Channel),
            self.subscriptions.of(Subscribed::Pattern),
            self.subscriptions.of(Subscribed::Shard),
            self.watched.len(),
            wire.pending(),
            wire.spare(),
            wire.outbox.pieces(),
            wire.outbox.len() - reply,
            self.memory_bytes(),
            if wire.outbox.has_open_bytes() { "rw" } else { "r" },
            self.last_command,
            lossy(&self.lib_name),
            lossy(&self.lib_version),
        )
    }

    /// Returns its flags as letters.
    fn letters(&self) -> String {
        let letters = [
            ('S', self.is_replica()),
            ('O', self.is_monitor),
            ('M', self.is_master_link()),
            ('P', !self.subscriptions.is_empty()),
            ('x', self.transaction.open),
            ('b', self.blocked.is_some()),
            ('d', self.transaction.broken),
            ('c', self.closing),
            ('U', matches!(self.ends, Endpoints::Unix(_))),
            ('r', self.reads_replica),
            ('e', self.no_evict),
            ('T', self.no_touch),
        ];
        let set: String = letters.iter().filter(|(_, set)| *set).map(|(c, _)| c).collect();
        if set.is_empty() { "N".to_owned() } else { set }
    }
}

/// What a connection is told that protected mode does not accept.
pub(super) const PROTECTED_MODE: &str = "-DENIED Redis is running in protected mode because protected mode is \
enabled and no password is set for the default user. In this mode connections are only accepted \
from the loopback interface. To connect from elsewhere, do one of these: 1) set a password \
('requirepass' in the configuration file, or CONFIG SET requirepass from this host); 2) bind only \
to interfaces that you trust and switch the mode off with 'CONFIG SET protected-mode no' from this \
host, then CONFIG REWRITE to keep it so; 3) start the server with '--protected-mode no'. Never do \
2 or 3 where strangers can reach this port.\r\n";
