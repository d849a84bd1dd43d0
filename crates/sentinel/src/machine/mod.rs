//! The machine: all masters, and the routing of inputs to them.

mod admin;
mod commands;
mod fields;
mod identity;
mod observe;
mod pause;
mod set;
mod state;
mod unreachable;

use std::collections::{BTreeMap, BTreeSet};

use russet_protocol::Reply;

use crate::context::{Context, Owner};
use crate::injected::Bug;
use crate::io::{Input, Level, LinkId, Now, Output, Programs};
use crate::link::{Expect, Kind};
use crate::master::Master;
use crate::peers::Peers;
use crate::scripts::Scripts;
use crate::settings::{ID_LEN, Settings};
pub use commands::Summary;
pub use observe::Belief;
use russet_journal as journal;

/// Parameters of the start.
#[derive(Clone, Debug, Default)]
pub struct Boot {
    /// Seed of the random numbers.
    pub seed: u64,
    /// A new id, for the first start: 40 hexadecimal digits.
    pub new_id: String,
    /// The port that we listen on.
    pub port: u16,
    /// `requirepass`, which is also used for connections to other Sentinels.
    pub requirepass: Option<String>,
    /// The file of the journal, as the last run has left it.
    pub journal: Vec<u8>,
    /// Which programs there are, for SENTINEL SET.
    pub programs: Programs,
    /// A bug to inject.
    pub bug: Option<Bug>,
}

/// What a command has to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing: the reply may be sent.
    Done,
    /// The reply may be sent when this version of the state is on disk. If it cannot be saved, an error is sent.
    AfterSave(u64),
}

/// A Sentinel.
pub struct Sentinel {
    cx: Context,
    masters: BTreeMap<u32, Master>,
    names: BTreeMap<String, u32>,
    peers: Peers,
    scripts: Scripts,
    /// When each master is due, and the reverse.
    due: BTreeSet<(u64, u32)>,
    due_of: BTreeMap<u32, u64>,
    peers_due: u64,
    scripts_due: u64,
    pause: pause::Pause,
}

impl Sentinel {
    /// Creates a Sentinel from its settings and the state of its last run.
    pub fn new(settings: Settings, boot: Boot, now: Now) -> Sentinel {
        let mut cx = Context::new(now, boot.seed, settings.globals, settings.current_epoch);
        cx.bug = boot.bug;
        (cx.port, cx.programs) = (boot.port, boot.programs);
        cx.requirepass = boot.requirepass.filter(|password| !password.is_empty());
        cx.my_id = settings.my_id.unwrap_or(boot.new_id);
        debug_assert_eq!(cx.my_id.len(), ID_LEN);
        let mut sentinel = Sentinel {
            cx,
            masters: BTreeMap::new(),
            names: BTreeMap::new(),
            peers: Peers::default(),
            scripts: Scripts::default(),
            due: BTreeSet::new(),
            due_of: BTreeMap::new(),
            peers_due: 0,
            scripts_due: 0,
            pause: pause::Pause::default(),
        };
        // What was read may not survive a loss of power yet: the process may have ended within a save. So it is saved again
        // before anything of it is told.
        sentinel.cx.changed();
        let text = format!("Sentinel ID is {}", sentinel.cx.my_id);
        sentinel.cx.log(Level::Notice, text);
        let mut journals = journal::read_file(&boot.journal);
        for settings in settings.masters {
            let mut master = Master::new(&mut sentinel.cx, &mut sentinel.peers, settings);
            master.journal = journals.remove(master.name()).unwrap_or_default();
            sentinel.add(master);
        }
        sentinel.cx.save();
        sentinel
    }

    /// Starts to monitor a master.
    fn add(&mut self, mut master: Master) {
        let quorum = master.settings.quorum;
        let text = format!("{} quorum {quorum}", master.label(&self.cx));
        master.report(&mut self.cx, Level::Warning, "+monitor", text);
        self.names.insert(master.settings.name.clone(), master.number);
        self.schedule(master.number, 0);
        self.masters.insert(master.number, master);
        self.settings_changed();
    }

    fn schedule(&mut self, number: u32, at: u64) {
        if let Some(old) = self.due_of.insert(number, at) {
            self.due.remove(&(old, number));
        }
        self.due.insert((at, number));
    }

    /// Updates what depends on the settings of all masters.
    fn settings_changed(&mut self) {
        let down_after = self.masters.values().map(|master| master.settings.down_after_ms).min();
        self.peers.down_after = down_after.unwrap_or(u64::MAX / 4);
        let numbers: Vec<u32> = self.masters.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.schedule(number, 0));
        self.forget_unused_peers();
        self.peers_due = 0;
    }

    fn forget_unused_peers(&mut self) {
        let masters = &self.masters;
        let is_used = |id: &str| masters.values().any(|master| master.voters.contains_key(id));
        self.peers.retain(&mut self.cx, is_used);
    }

    /// Handles one event, and everything that is due.
    pub fn handle(&mut self, now: Now, input: Input<'_>) {
        self.advance(now);
        match input {
            Input::Connected { link, local, peer } => self.connected(link, (local, peer)),
            Input::NotConnected { link, error } => self.not_connected(link, &error),
            Input::Closed { link } => self.closed(link),
            Input::Reply { link, reply } => self.reply(link, &reply),
            Input::Saved { version, result } => {
                self.cx.saved(version, &result);
                // An election, a hello message may have waited for it.
                let Sentinel { cx, masters, peers, .. } = self;
                masters.values_mut().for_each(|master| master.saved(cx, peers));
                let numbers: Vec<u32> = self.masters.keys().copied().collect();
                numbers.into_iter().for_each(|number| self.schedule(number, 0));
                self.peers_due = 0;
            }
            Input::ScriptStarted { id, pid } => self.scripts.started(&mut self.cx, id, pid),
            Input::ScriptEnded { id, outcome } => {
                self.scripts.ended(&mut self.cx, id, &outcome);
                self.scripts_due = 0;
            }
            Input::Tick => {}
        }
        self.run_due();
    }

    /// Sets the time, and notices if this process did not run for a while.
    fn advance(&mut self, now: Now) {
        let expected = self.next_due();
        self.cx.now = now;
        self.notice_pause(expected);
    }

    /// Does what is due.
    fn run_due(&mut self) {
        let now = self.cx.ms();
        while let Some(&(at, number)) = self.due.first() {
            if at > now {
                break;
            }
            let Sentinel { cx, masters, peers, .. } = self;
            let Some(master) = masters.get_mut(&number) else {
                self.due.pop_first();
                continue;
            };
            let next = master.tick(cx, peers);
            self.schedule(number, next);
        }
        self.end_pause();
        let Sentinel { cx, masters, peers, scripts, .. } = self;
        if self.peers_due <= now {
            let masters = &*masters;
            let hellos = |cx: &Context, id: &str, link: &crate::link::Link| {
                let watches = |master: &&Master| master.voters.contains_key(id);
                let hello = |master: &Master| master.hello_over(cx, link);
                masters.values().filter(watches).filter_map(hello).collect()
            };
            self.peers_due = peers.tick(cx, &hellos);
        }
        if self.scripts_due <= now || !cx.script_requests.is_empty() {
            self.scripts_due = scripts.tick(cx);
        }
        if std::mem::take(&mut cx.journal_is_new) {
            cx.output(Output::SaveJournal);
        }
        cx.save();
    }

    /// Returns the next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.cx.take_output()
    }

    /// Returns the monotonic time in milliseconds at which [`Input::Tick`] is due.
    pub fn next_due(&self) -> u64 {
        let masters = self.due.first().map_or(u64::MAX, |&(at, _)| at);
        let saves = self.cx.save_due().unwrap_or(u64::MAX);
        masters.min(self.peers_due).min(self.scripts_due).min(saves)
    }

    fn connected(
        &mut self,
        link: LinkId,
        ends: (Option<std::net::IpAddr>, Option<std::net::IpAddr>),
    ) {
        let Sentinel { cx, masters, peers, .. } = self;
        match cx.owners.get(&link).cloned() {
            Some(Owner::Server(number, id)) => {
                if let Some(master) = masters.get_mut(&number) {
                    master.connected(cx, id, link, ends);
                    self.schedule(number, 0);
                }
            }
            Some(Owner::Peer(id)) => {
                peers.connected(cx, &id, link, ends);
                self.peers_due = 0;
            }
            None => cx.close(link),
        }
    }

    fn closed(&mut self, link: LinkId) {
        let Sentinel { cx, masters, peers, .. } = self;
        match cx.owners.remove(&link) {
            Some(Owner::Server(number, id)) => {
                let server = masters.get_mut(&number).and_then(|master| master.server_mut(id));
                if let Some(server) = server {
                    server.link.closed(cx, link);
                    self.schedule(number, 0);
                }
            }
            Some(Owner::Peer(id)) => {
                if let Some(peer) = peers.get_mut(&id) {
                    peer.link.closed(cx, link);
                    // Each master that it watches with us must know when it is down.
                    self.schedule_masters_of(&id);
                }
                self.peers_due = 0;
            }
            None => {}
        }
    }

    fn schedule_masters_of(&mut self, id: &str) {
        let watches = |master: &&Master| master.voters.contains_key(id);
        let numbers: Vec<u32> = self.masters.values().filter(watches).map(|it| it.number).collect();
        numbers.into_iter().for_each(|number| self.schedule(number, 0));
    }

    fn reply(&mut self, link: LinkId, reply: &Reply<'_>) {
        match self.cx.owners.get(&link).cloned() {
            Some(Owner::Server(number, id)) => self.reply_of_server(number, id, link, reply),
            Some(Owner::Peer(id)) => self.reply_of_peer(&id, reply),
            None => {}
        }
    }

    fn reply_of_server(&mut self, number: u32, id: u32, link: LinkId, reply: &Reply<'_>) {
        let Sentinel { cx, masters, peers, .. } = self;
        let Some(master) = masters.get_mut(&number) else { return };
        let Some(server) = master.server_mut(id) else { return };
        let now = cx.ms();
        if server.link.kind_of(link) == Some(Kind::PubSub) {
            server.link.message(now);
            if let Some(message) = message(reply) {
                self.hello(message);
            }
            return;
        }
        let was_down = server.is_down() || server.reboot_since.is_some();
        match server.link.expected() {
            Expect::Ping => {
                master.answered_ping(cx, id, reply);
                if !was_down {
                    // Nothing follows from it.
                    return;
                }
            }
            Expect::Info => {
                if let Some(text) = reply.bytes() {
                    master.informed(cx, peers, id, text);
                }
            }
            Expect::Hello if reply.error().is_some() => server.last_hello = 0,
            Expect::Hello => return,
            Expect::Auth => server.link.authenticated(cx, reply),
            Expect::Role => server.forget_info(),
            Expect::HandOver => master.hand_over_replied(cx, reply.error()),
            _ => return,
        }
        self.schedule(number, 0);
    }

    fn reply_of_peer(&mut self, id: &str, reply: &Reply<'_>) {
        let Sentinel { cx, masters, peers, .. } = self;
        let Some(peer) = peers.get_mut(id) else { return };
        match peer.link.expected() {
            Expect::Ping => {
                let was_silent = peer.link.silent_since.is_some();
                peers.answered_ping(cx, id, reply);
                if was_silent && masters.values().any(|it| it.knows_down(id)) {
                    self.schedule_masters_of(id);
                }
            }
            Expect::Auth => peer.link.authenticated(cx, reply),
            Expect::Id => self.peer_id(id, reply),
            Expect::Opinion(number) => {
                if let (Some(master), Some((says_down, vote))) =
                    (masters.get_mut(&number), opinion(reply))
                {
                    master.opinion(cx, id, says_down, vote);
                    self.schedule(number, 0);
                }
            }
            _ => {}
        }
    }
}

/// Returns the payload of a pushed message.
fn message<'a>(reply: &Reply<'a>) -> Option<&'a [u8]> {
    let mut elements = reply.elements()?;
    let (kind, _channel, payload) = (elements.next()?, elements.next()?, elements.next()?);
    (kind.bytes()? == b"message").then(|| payload.bytes()).flatten()
}

/// Reads `down, leader or *, epoch`.
fn opinion(reply: &Reply<'_>) -> Option<(bool, Option<(String, u64)>)> {
    let mut elements = reply.elements()?;
    let (down, leader, epoch) = (elements.next()?, elements.next()?, elements.next()?);
    let (Reply::Integer(down), Reply::Integer(epoch)) = (down, epoch) else { return None };
    let leader = leader.bytes().filter(|leader| leader.len() <= ID_LEN)?;
    let leader = Some(leader).filter(|leader| *leader != b"*");
    let vote = leader.and_then(|leader| {
        Some((String::from_utf8_lossy(leader).into_owned(), u64::try_from(epoch).ok()?))
    });
    Some((down == 1, vote))
}
