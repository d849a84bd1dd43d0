//! The two connections to a server or Sentinel, and when it answered last.
//!
//! ```text
//!   commands   AUTH · CLIENT SETNAME · PING · INFO · PUBLISH hello · SENTINEL is-master-down-by-addr · MULTI … EXEC
//!   pubsub     AUTH · CLIENT SETNAME · SUBSCRIBE __sentinel__:hello     servers only
//! ```
//!
//! Silence begins with the first PING that is not answered, or with the loss of the connection, and ends with a valid
//! reply. It does not begin with the last reply: what nobody asked for is not missing.

use std::collections::VecDeque;
use std::net::IpAddr;

use russet_protocol::Reply;
use russet_protocol::reply::push_command;

use crate::address::Address;
use crate::context::{Context, Owner};
use crate::io::{LinkId, Output};

/// The channel of hello messages.
pub const HELLO_CHANNEL: &str = "__sentinel__:hello";

/// Replies that may be outstanding; nothing periodic is sent beyond.
const PENDING_MAX: usize = 100;

/// What the next reply is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// Not of interest.
    Nothing,
    /// The reply to AUTH.
    Auth,
    /// The reply to PING.
    Ping,
    /// The reply to INFO.
    Info,
    /// The reply to PUBLISH of a hello message.
    Hello,
    /// The reply to SENTINEL MYID.
    Id,
    /// The reply to SENTINEL is-master-down-by-addr about the master with this number.
    Opinion(u32),
    /// The reply to EXEC of a new role.
    Role,
    /// The reply to FAILOVER.
    HandOver,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Channel {
    pub id: LinkId,
    /// When it was opened or, before, tried.
    since: u64,
    pub is_open: bool,
    expects: VecDeque<Expect>,
}

/// Which of the two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Commands,
    PubSub,
}

impl Kind {
    /// Returns the event of an attempt to connect that failed.
    pub fn failure(self) -> &'static str {
        match self {
            Kind::Commands => "-cmd-link-reconnection",
            Kind::PubSub => "-pubsub-link-reconnection",
        }
    }
}

/// How to authenticate, and the names of commands.
#[derive(Clone, Copy)]
pub(crate) struct Access<'a> {
    pub user: Option<&'a str>,
    pub password: Option<&'a str>,
    pub renamed: &'a dyn Fn(&str) -> String,
}

/// The connections to an instance.
#[derive(Debug)]
pub(crate) struct Link {
    pub commands: Option<Channel>,
    pub pubsub: Option<Channel>,
    /// Whether it has both.
    has_pubsub: bool,
    last_attempt: Option<u64>,
    /// Since when a reply is missing.
    pub silent_since: Option<u64>,
    pub last_ping: u64,
    /// Time of the last valid reply to PING.
    pub last_valid: u64,
    /// Time of the last reply to PING of any kind.
    pub last_reply: u64,
    /// Whether the last reply was that a script runs.
    pub is_busy: bool,
    last_message: u64,
    /// Our address on the connection for commands.
    pub local: Option<IpAddr>,
}

impl Link {
    pub fn new(now: u64, has_pubsub: bool) -> Link {
        Link {
            commands: None,
            pubsub: None,
            has_pubsub,
            last_attempt: None,
            // If no connection can be made at all, that is silence from the beginning.
            silent_since: Some(now),
            last_ping: 0,
            last_valid: now,
            last_reply: now,
            is_busy: false,
            last_message: now,
            local: None,
        }
    }

    /// Whether one of the connections is missing.
    pub fn is_disconnected(&self) -> bool {
        let is_open = |channel: &Option<Channel>| channel.as_ref().is_some_and(|it| it.is_open);
        !is_open(&self.commands) || (self.has_pubsub && !is_open(&self.pubsub))
    }

    /// Whether commands can be sent.
    pub fn has_commands(&self) -> bool {
        self.commands.as_ref().is_some_and(|channel| channel.is_open)
    }

    /// Returns the number of outstanding replies.
    pub fn pending(&self) -> usize {
        self.commands.as_ref().map_or(0, |channel| channel.expects.len())
    }

    /// Whether periodic commands may be sent.
    pub fn accepts_more(&self) -> bool {
        self.has_commands() && self.pending() < PENDING_MAX
    }

    /// Whether this reply is outstanding.
    pub fn awaits(&self, expect: &Expect) -> bool {
        self.commands.as_ref().is_some_and(|channel| channel.expects.contains(expect))
    }

    /// Returns how long a reply has been missing.
    pub fn silence(&self, now: u64) -> u64 {
        self.silent_since.map_or(0, |since| now.saturating_sub(since))
    }

    /// Returns which connection this is.
    pub fn kind_of(&self, id: LinkId) -> Option<Kind> {
        let is_it = |channel: &Option<Channel>| channel.as_ref().is_some_and(|it| it.id == id);
        match (is_it(&self.commands), is_it(&self.pubsub)) {
            (true, _) => Some(Kind::Commands),
            (_, true) => Some(Kind::PubSub),
            _ => None,
        }
    }

    /// Connects what is not connected, at most once per period.
    pub fn reconnect(&mut self, cx: &mut Context, to: &Address, owner: &Owner, period: u64) {
        let now = cx.ms();
        let lacks_pubsub = self.has_pubsub && self.pubsub.is_none();
        if to.port == 0
            || (self.commands.is_some() && !lacks_pubsub)
            || now < self.reconnect_at(period)
        {
            return;
        }
        self.last_attempt = Some(now);
        let mut open = |slot: &mut Option<Channel>| {
            if slot.is_none() {
                let id = cx.connect(to, owner.clone());
                *slot = Some(Channel { id, since: now, is_open: false, expects: VecDeque::new() });
            }
        };
        open(&mut self.commands);
        if self.has_pubsub {
            open(&mut self.pubsub);
        }
    }

    /// Returns when the next attempt to connect is due.
    fn reconnect_at(&self, period: u64) -> u64 {
        self.last_attempt.map_or(0, |at| at + period)
    }

    /// Handles an open connection: authenticates and, on that for messages, subscribes.
    pub fn connected(
        &mut self,
        cx: &mut Context,
        id: LinkId,
        access: Access<'_>,
        local: Option<IpAddr>,
    ) {
        let Some(kind) = self.kind_of(id) else { return };
        let now = cx.ms();
        let channel = match kind {
            Kind::Commands => &mut self.commands,
            Kind::PubSub => &mut self.pubsub,
        };
        let Some(channel) = channel else { return };
        (channel.is_open, channel.since) = (true, now);
        let name = |command: &str| (access.renamed)(command);
        let auth = name("AUTH");
        match (access.user, access.password) {
            (_, None) => {}
            (None, Some(password)) => channel.send(cx, Expect::Auth, &[&auth, password]),
            (Some(user), Some(password)) => {
                channel.send(cx, Expect::Auth, &[&auth, user, password]);
            }
        }
        let label = if kind == Kind::Commands { "cmd" } else { "pubsub" };
        let label = format!("sentinel-{}-{label}", cx.my_id.get(..8).unwrap_or_default());
        channel.send(cx, Expect::Nothing, &[&name("CLIENT"), "SETNAME", &label]);
        if kind == Kind::PubSub {
            self.last_message = now;
            channel.send(cx, Expect::Nothing, &[&name("SUBSCRIBE"), HELLO_CHANNEL]);
        } else {
            self.local = local;
        }
    }

    /// Handles a closed connection.
    pub fn closed(&mut self, cx: &Context, id: LinkId) {
        match self.kind_of(id) {
            Some(Kind::Commands) => self.lose_commands(cx.ms()),
            Some(Kind::PubSub) => self.pubsub = None,
            None => {}
        }
    }

    fn lose_commands(&mut self, now: u64) {
        self.commands = None;
        self.silent_since.get_or_insert(now);
    }

    /// Closes both connections.
    pub fn close(&mut self, cx: &mut Context) {
        let now = cx.ms();
        for channel in [self.commands.take(), self.pubsub.take()].into_iter().flatten() {
            cx.close(channel.id);
        }
        self.lose_commands(now);
    }

    /// Closes connections from which nothing comes: the peer may have vanished without a word.
    pub fn close_silent(&mut self, cx: &mut Context, down_after: u64) {
        let now = cx.ms();
        let age_min = cx.periods.reconnect;
        let is_stale = |channel: &Channel| match channel.is_open {
            true => now.saturating_sub(channel.since) > age_min,
            // The kernel goes on trying for minutes.
            false => {
                now.saturating_sub(channel.since) > (down_after / 2).clamp(1000, age_min.max(1000))
            }
        };
        let half = down_after / 2;
        let is_silent = self.silence(now) > half && now.saturating_sub(self.last_reply) > half;
        if is_silent && let Some(channel) = self.commands.take_if(|channel| is_stale(channel)) {
            cx.close(channel.id);
            self.lose_commands(now);
        }
        let no_message = now.saturating_sub(self.last_message) > cx.periods.publish * 3;
        if no_message && let Some(channel) = self.pubsub.take_if(|channel| is_stale(channel)) {
            cx.close(channel.id);
        }
    }

    /// Sends a command.
    pub fn send(&mut self, cx: &mut Context, expect: Expect, words: &[&str]) {
        if let Some(channel) = self.commands.as_mut().filter(|channel| channel.is_open) {
            channel.send(cx, expect, words);
        }
    }

    /// Sends PING.
    pub fn ping(&mut self, cx: &mut Context, command: &str) {
        let now = cx.ms();
        self.send(cx, Expect::Ping, &[command]);
        self.last_ping = now;
        self.silent_since.get_or_insert(now);
    }

    /// Returns what a reply on the connection for commands is; nothing if there was no command.
    pub fn expected(&mut self) -> Expect {
        let channel = self.commands.as_mut();
        channel.and_then(|channel| channel.expects.pop_front()).unwrap_or(Expect::Nothing)
    }

    /// Handles the reply to AUTH: without the right password a connection is of no use. A server that has no password
    /// replies with another error, and needs none.
    pub fn authenticated(&mut self, cx: &mut Context, reply: &Reply<'_>) {
        if reply.error().is_some_and(|error| error.starts_with(b"WRONGPASS")) {
            self.close(cx);
        }
    }

    /// Handles a valid reply to PING.
    pub fn valid_reply(&mut self, now: u64) {
        (self.last_valid, self.last_reply) = (now, now);
        (self.silent_since, self.is_busy) = (None, false);
    }

    /// Handles a message of the subscription.
    pub fn message(&mut self, now: u64) {
        self.last_message = now;
    }

    /// Forgets what was missing so far, as after a pause of this process.
    pub fn restart_clock(&mut self, now: u64) {
        (self.last_valid, self.last_reply, self.last_message) = (now, now, now);
        if self.silent_since.is_some() {
            self.silent_since = Some(now);
        }
    }

    /// Moves the beginning of a silence by the length of a pause, in which nobody could have been heard.
    pub fn excuse(&mut self, now: u64, paused_ms: u64) {
        let later = |at: u64| (at + paused_ms).min(now);
        self.silent_since = self.silent_since.map(later);
        self.last_message = later(self.last_message);
    }

    /// Returns when the connections need attention.
    pub fn due(&self, cx: &Context, down_after: u64, period: u64) -> u64 {
        let now = cx.ms();
        let lacks = self.commands.is_none() || (self.has_pubsub && self.pubsub.is_none());
        let reconnect = if lacks { self.reconnect_at(period) } else { u64::MAX };
        let silent = match self.silent_since {
            Some(_) if self.commands.is_some() => now + (down_after / 4).clamp(50, 1000),
            _ => u64::MAX,
        };
        let unheard = match self.pubsub {
            Some(_) => self.last_message + cx.periods.publish * 3 + 1,
            None => u64::MAX,
        };
        reconnect.min(silent).min(unheard.max(now + 500))
    }
}

impl Channel {
    fn send(&mut self, cx: &mut Context, expect: Expect, words: &[&str]) {
        let mut bytes = Vec::new();
        push_command(&mut bytes, words);
        self.expects.push_back(expect);
        cx.output(Output::Send { link: self.id, bytes });
    }
}
