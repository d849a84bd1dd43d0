//! A monitored server: the master or a replica of it. What it last said of itself, whether it answers, and what is sent to
//! it periodically.

use russet_protocol::Reply;

use crate::address::Address;
use crate::context::Context;
use crate::info::{Info, Role};
use crate::link::{Access, Expect, HELLO_CHANNEL, Link};

/// Limit of a stored INFO.
const INFO_LEN_MAX: usize = 1 << 20;

/// Delay after which a hello message is tried again that must not be sent yet.
const HELLO_RETRY_MS: u64 = 200;

/// How far a replica is with following a new master.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reconf {
    /// It has not been told.
    #[default]
    None,
    /// It was told at this time.
    Sent(u64),
    /// It says that it follows, and synchronizes.
    InProgress,
    /// It is synchronized, or was given up.
    Done,
}

/// A server.
#[derive(Debug)]
pub(crate) struct Server {
    /// A number that is never used again.
    pub id: u32,
    pub address: Address,
    pub run_id: Option<String>,
    pub link: Link,
    /// Since when it is subjectively down.
    pub down_since: Option<u64>,
    /// When it was last found down, even if it is up now.
    pub last_down: Option<u64>,
    /// Whether SCRIPT KILL was sent.
    pub script_kill_sent: bool,
    pub last_hello: u64,
    /// When it last answered INFO.
    pub info_at: Option<u64>,
    /// When INFO was last sent.
    info_sent: Option<u64>,
    /// The text of its last INFO.
    pub info_text: Vec<u8>,
    /// The role that it reports, and since when.
    pub role: Role,
    pub role_since: u64,
    /// The master that it reports, and since when.
    pub master_host: Option<String>,
    pub master_port: u16,
    pub master_since: u64,
    pub is_link_up: bool,
    pub link_down_ms: u64,
    pub priority: u32,
    pub offset: u64,
    pub is_announced: bool,
    pub is_loading: bool,
    pub lineage: Option<String>,
    pub former_lineage: Option<String>,
    /// A master that restarted, since when, until it answers.
    pub reboot_since: Option<u64>,
    /// Whether this replica was chosen.
    pub is_promoted: bool,
    pub reconf: Reconf,
}

/// What changed with an INFO.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub has_restarted: bool,
    pub has_new_role: bool,
}

impl Server {
    pub fn new(id: u32, address: Address, role: Role, now: u64) -> Server {
        Server {
            id,
            address,
            run_id: None,
            link: Link::new(now, true),
            down_since: None,
            last_down: None,
            script_kill_sent: false,
            last_hello: now,
            info_at: None,
            info_sent: None,
            info_text: Vec::new(),
            role,
            role_since: now,
            master_host: None,
            master_port: 0,
            master_since: now,
            is_link_up: false,
            link_down_ms: 0,
            priority: 100,
            offset: 0,
            is_announced: true,
            is_loading: false,
            lineage: None,
            former_lineage: None,
            reboot_since: None,
            is_promoted: false,
            reconf: Reconf::None,
        }
    }

    /// Whether it is subjectively down.
    pub fn is_down(&self) -> bool {
        self.down_since.is_some()
    }

    /// Whether it has not been down for this long.
    pub fn was_up_for(&self, now: u64, ms: u64) -> bool {
        self.last_down.is_none_or(|at| now.saturating_sub(at) > ms)
    }

    /// Takes over what INFO says.
    pub fn informed(&mut self, now: u64, text: &[u8]) -> (Info, Changes) {
        self.info_text = text[..text.len().min(INFO_LEN_MAX)].to_vec();
        let info = Info::parse(&String::from_utf8_lossy(&self.info_text));
        let mut changes = Changes::default();
        self.info_at = Some(now);
        if let Some(run_id) = &info.run_id {
            let old = self.run_id.replace(run_id.clone());
            changes.has_restarted = old.is_some_and(|old| old != *run_id);
        }
        if let Some(role) = info.role
            && role != self.role
        {
            (self.role, self.role_since) = (role, now);
            changes.has_new_role = true;
            if role == Role::Replica {
                self.master_since = now;
            }
        }
        self.link_down_ms = info.link_down_ms;
        self.is_loading = info.is_loading;
        self.lineage = info.lineage.clone();
        self.former_lineage = info.former_lineage.clone();
        match info.role {
            Some(Role::Replica) => self.informed_as_replica(now, &info),
            Some(Role::Master) => self.offset = info.own_offset.unwrap_or(self.offset),
            None => {}
        }
        (info, changes)
    }

    fn informed_as_replica(&mut self, now: u64, info: &Info) {
        if let Some(host) = &info.master_host
            && !self.master_host.as_ref().is_some_and(|known| known.eq_ignore_ascii_case(host))
        {
            self.master_host = Some(host.clone());
            self.master_since = now;
        }
        if let Some(port) = info.master_port
            && port != self.master_port
        {
            (self.master_port, self.master_since) = (port, now);
        }
        self.is_link_up = info.is_link_up;
        self.priority = info.priority.unwrap_or(self.priority);
        self.offset = info.offset.unwrap_or(self.offset);
        self.is_announced = info.is_announced.unwrap_or(self.is_announced);
    }

    /// Whether it says that it follows the master at this address.
    pub fn follows(&self, master: &Address) -> bool {
        let host = self.master_host.as_deref();
        self.role == Role::Replica && host.is_some_and(|host| master.is_at(host, self.master_port))
    }

    /// Handles the reply to PING. Returns whether it is valid.
    pub fn answered_ping(
        &mut self,
        cx: &mut Context,
        reply: &Reply<'_>,
        access: Access<'_>,
    ) -> bool {
        let now = cx.ms();
        let text = reply.bytes().or(reply.error()).unwrap_or_default();
        let is_pong = text.starts_with(b"PONG");
        if is_pong || text.starts_with(b"LOADING") || text.starts_with(b"MASTERDOWN") {
            self.link.valid_reply(now);
            if is_pong {
                self.reboot_since = None;
            }
            return true;
        }
        self.link.is_busy = text.starts_with(b"BUSY");
        self.link.last_reply = now;
        if text.starts_with(b"NOAUTH") {
            // Without a password the connection is of no use. The next one may have it.
            self.link.close(cx);
        }
        if self.link.is_busy && self.is_down() && !self.script_kill_sent {
            let script = (access.renamed)("SCRIPT");
            self.link.send(cx, Expect::Nothing, &[&script, "KILL"]);
            self.script_kill_sent = true;
        }
        false
    }

    /// Sends what is due: INFO, PING, and a hello message.
    pub fn send_periodic(
        &mut self,
        cx: &mut Context,
        pace: Pace,
        access: Access<'_>,
        hello: &dyn Fn(&Link) -> Option<String>,
    ) {
        if !self.link.accepts_more() {
            return;
        }
        let now = cx.ms();
        if self.info_due(pace) <= now {
            self.ask_info(cx, access);
        }
        let mut slack = 0;
        if self.link.last_ping + pace.ping <= now {
            let command = (access.renamed)("PING");
            self.link.ping(cx, &command);
            // What is almost due goes with it: one write for both.
            slack = pace.ping / 4;
        }
        let publish = cx.periods.publish;
        if self.last_hello + publish <= now + slack && !self.link.is_disconnected() {
            if let Some(text) = hello(&self.link) {
                let command = (access.renamed)("PUBLISH");
                self.link.send(cx, Expect::Hello, &[&command, HELLO_CHANNEL, &text]);
                self.last_hello = now;
            } else {
                self.last_hello = (now + HELLO_RETRY_MS).saturating_sub(publish);
            }
        }
    }

    /// Sends INFO, unless its reply is outstanding.
    pub fn ask_info(&mut self, cx: &mut Context, access: Access<'_>) {
        if self.link.has_commands() && !self.link.awaits(&Expect::Info) {
            self.info_sent = Some(cx.ms());
            let command = (access.renamed)("INFO");
            self.link.send(cx, Expect::Info, &[&command]);
        }
    }

    fn info_due(&self, pace: Pace) -> u64 {
        self.info_sent.map_or(0, |at| at + pace.info)
    }

    /// Requests INFO with the next periodic commands.
    pub fn forget_info(&mut self) {
        self.info_sent = None;
    }

    /// Returns when something is due.
    pub fn due(&self, cx: &Context, pace: Pace, down_after: u64) -> u64 {
        let mut due = self.link.due(cx, down_after, pace.ping);
        if self.link.accepts_more() {
            due = due.min(self.link.last_ping + pace.ping);
            if !self.link.awaits(&Expect::Info) {
                due = due.min(self.info_due(pace));
            }
            if !self.link.is_disconnected() {
                due = due.min(self.last_hello + cx.periods.publish);
            }
        }
        if self.down_since.is_none()
            && let Some(since) = self.link.silent_since
        {
            due = due.min(since + down_after + 1);
        }
        due.max(cx.ms() + 1)
    }
}

/// How often a server is asked, milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub ping: u64,
    pub info: u64,
}
