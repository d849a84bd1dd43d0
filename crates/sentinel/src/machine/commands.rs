//! The subcommands of SENTINEL that ask: about masters, replicas, Sentinels, opinions and votes.

use russet_protocol::{ErrorReply, ReplyWriter};

use super::{End, Sentinel};
use crate::context::Context;
use crate::io::Now;
use crate::link::Link;
use crate::master::{Master, Voter};
use crate::peers::Peer;
use crate::server::{Reconf, Server};

/// The fields of an instance, written as a map.
struct Fields(Vec<(&'static str, String)>);

impl Fields {
    fn text(&mut self, name: &'static str, value: impl Into<String>) {
        self.0.push((name, value.into()));
    }

    fn number(&mut self, name: &'static str, value: u64) {
        self.0.push((name, value.to_string()));
    }

    fn write(&self, reply: &mut ReplyWriter<'_>) {
        reply.map(self.0.len());
        for (name, value) in &self.0 {
            reply.bulk(name.as_bytes());
            reply.bulk(value.as_bytes());
        }
    }
}

/// Returns flags joined by commas.
fn flags(flags: &[(&'static str, bool)]) -> String {
    let set: Vec<&str> =
        flags.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect();
    set.join(",")
}

/// The error for a name that no master has.
const NO_MASTER: &str = "No such master with that name";

impl Sentinel {
    /// Returns a master by name.
    pub(super) fn find(&self, name: &[u8]) -> Result<&Master, ErrorReply> {
        let name = std::str::from_utf8(name).ok();
        let number = name.and_then(|name| self.names.get(name));
        number.and_then(|number| self.masters.get(number)).ok_or_else(|| ErrorReply::err(NO_MASTER))
    }

    /// Returns our id.
    pub fn my_id(&self) -> &str {
        &self.cx.my_id
    }

    /// SENTINEL MASTERS.
    pub fn masters(&mut self, now: Now, reply: &mut ReplyWriter<'_>) {
        self.cx.now = now;
        reply.array(self.masters.len());
        for master in self.masters.values() {
            master_fields(&self.cx, master).write(reply);
        }
    }

    /// SENTINEL MASTER.
    pub fn master(
        &mut self,
        now: Now,
        name: &[u8],
        reply: &mut ReplyWriter<'_>,
    ) -> Result<(), ErrorReply> {
        self.cx.now = now;
        master_fields(&self.cx, self.find(name)?).write(reply);
        Ok(())
    }

    /// SENTINEL REPLICAS: those that want to be listed.
    pub fn replicas(
        &mut self,
        now: Now,
        name: &[u8],
        reply: &mut ReplyWriter<'_>,
    ) -> Result<(), ErrorReply> {
        self.cx.now = now;
        let master = self.find(name)?;
        let listed = || master.replicas.iter().filter(|replica| replica.is_announced);
        reply.array(listed().count());
        for replica in listed() {
            replica_fields(&self.cx, master, replica).write(reply);
        }
        Ok(())
    }

    /// SENTINEL SENTINELS.
    pub fn sentinels(
        &mut self,
        now: Now,
        name: &[u8],
        reply: &mut ReplyWriter<'_>,
    ) -> Result<(), ErrorReply> {
        self.cx.now = now;
        let master = self.find(name)?;
        let known = || {
            let voters = master.voters.iter();
            voters.filter_map(|(id, voter)| Some((id, voter, self.peers.get(id)?)))
        };
        reply.array(known().count());
        for (id, voter, peer) in known() {
            let shared = self.masters.values().filter(|it| it.voters.contains_key(id)).count();
            sentinel_fields(&self.cx, master, (id, voter, peer), shared).write(reply);
        }
        Ok(())
    }

    /// SENTINEL GET-MASTER-ADDR-BY-NAME.
    pub fn address(&self, name: &[u8], reply: &mut ReplyWriter<'_>) {
        let Ok(master) = self.find(name) else { return reply.null_array() };
        let address = master.current_address();
        reply.array(2);
        reply.bulk(address.shown(&self.cx.globals).as_bytes());
        reply.bulk_integer(i64::from(address.port));
    }

    /// SENTINEL IS-MASTER-DOWN-BY-ADDR: our opinion and, for a candidate, our vote.
    pub fn is_master_down(
        &mut self,
        now: Now,
        (host, port): (&str, i64),
        epoch: i64,
        candidate: &str,
        reply: &mut ReplyWriter<'_>,
    ) -> End {
        self.advance(now);
        let port = u16::try_from(port).unwrap_or_default();
        let is_it = |master: &&mut Master| master.server.address.is_at(host, port);
        let Sentinel { cx, masters, .. } = self;
        let mut is_down = false;
        let mut vote = None;
        let mut end = End::Done;
        let mut epoch_of_vote = 0;
        if let Some(master) = masters.values_mut().find(is_it) {
            is_down = master.server.is_down() && !cx.is_tilted;
            // An id that is not one could end up in our state file.
            let is_candidate = candidate != "*" && is_id(candidate);
            if is_candidate && let Ok(epoch) = u64::try_from(epoch) {
                vote = master.vote_for(cx, epoch, candidate);
                epoch_of_vote = master.settings.leader_epoch;
            }
            master.was_asked();
            let number = master.number;
            self.schedule(number, 0);
        }
        if let Some(vote) = &vote
            && !self.cx.is_saved(vote.version)
            && !self.cx.injected(crate::Bug::VoteBeforeSave)
        {
            end = End::AfterSave(vote.version);
        }
        reply.array(3);
        reply.integer(i64::from(is_down));
        reply.bulk(vote.as_ref().map_or("*", |vote| &vote.leader).as_bytes());
        let epoch = vote.as_ref().map_or(epoch_of_vote, |vote| vote.epoch);
        reply.integer(i64::try_from(epoch).unwrap_or(i64::MAX));
        self.run_due();
        end
    }

    /// SENTINEL CKQUORUM.
    pub fn check_quorum(&self, name: &[u8], reply: &mut ReplyWriter<'_>) -> Result<(), ErrorReply> {
        let master = self.find(name)?;
        let up = master.voters.values().filter(|voter| voter.down_since.is_none());
        let usable = up.count() + 1;
        let mut lacks = Vec::new();
        if usable < master.settings.quorum as usize {
            lacks.push(
                "Not enough available Sentinels to reach the specified quorum for this master",
            );
        }
        if usable < master.voters_len() / 2 + 1 {
            lacks.push(
                "Not enough available Sentinels to reach the majority and authorize a failover",
            );
        }
        if lacks.is_empty() {
            let text = "usable Sentinels. Quorum and failover authorization can be reached";
            reply.simple(&format!("OK {usable} {text}"));
            return Ok(());
        }
        let text = format!("NOQUORUM {usable} usable Sentinels. {}", lacks.join(". "));
        Err(ErrorReply::Text(text.into()))
    }

    /// SENTINEL INFO-CACHE of these masters.
    pub fn info_cache(&mut self, now: Now, names: &[&[u8]], reply: &mut ReplyWriter<'_>) {
        self.cx.now = now;
        let ms = self.cx.ms();
        let is_wanted = |master: &&Master| names.contains(&master.settings.name.as_bytes());
        let wanted: Vec<&Master> = self.masters.values().filter(is_wanted).collect();
        reply.array(wanted.len() * 2);
        for master in wanted {
            reply.bulk(master.settings.name.as_bytes());
            reply.array(master.replicas.len() + 1);
            for server in std::iter::once(&master.server).chain(&master.replicas) {
                reply.array(2);
                let age = server.info_at.map_or(0, |at| ms.saturating_sub(at));
                reply.integer(i64::try_from(age).unwrap_or(i64::MAX));
                match server.info_at {
                    Some(_) => reply.bulk(&server.info_text),
                    None => reply.null(),
                }
            }
        }
    }

    /// SENTINEL EVENTS: the journal of a master, or of all, the latest last.
    pub fn events(
        &self,
        name: Option<&[u8]>,
        count: usize,
        reply: &mut ReplyWriter<'_>,
    ) -> Result<(), ErrorReply> {
        let masters: Vec<&Master> = match name {
            Some(name) => vec![self.find(name)?],
            None => self.masters.values().collect(),
        };
        let of = |master: &&'_ Master| -> Vec<(String, crate::journal::Entry)> {
            let name = &master.settings.name;
            master.journal.entries.iter().map(|entry| (name.clone(), entry.clone())).collect()
        };
        let mut entries: Vec<_> = masters.iter().flat_map(of).collect();
        entries.sort_by_key(|(_, entry)| entry.mono_ms);
        let first = entries.len().saturating_sub(count);
        reply.array(entries.len() - first);
        for (name, entry) in &entries[first..] {
            reply.map(5);
            reply.bulk(b"time");
            reply.bulk(crate::journal::clock(entry.wall_ms).as_bytes());
            reply.bulk(b"master");
            reply.bulk(name.as_bytes());
            reply.bulk(b"epoch");
            reply.integer(i64::try_from(entry.epoch).unwrap_or(i64::MAX));
            reply.bulk(b"event");
            reply.bulk(entry.event.as_bytes());
            reply.bulk(b"text");
            reply.bulk(entry.text.as_bytes());
        }
        Ok(())
    }

    /// SENTINEL EXPLAIN: the last failover of a master as a text.
    pub fn explain(&self, name: &[u8], reply: &mut ReplyWriter<'_>) -> Result<(), ErrorReply> {
        let text = self.find(name)?.journal.explain();
        let text = text
            .unwrap_or_else(|| "There was no failover since this Sentinel started.\n".to_owned());
        reply.verbatim(text.as_bytes());
        Ok(())
    }

    /// Returns the text of the journal's file.
    pub fn journal_text(&self) -> String {
        let mut text = String::new();
        for master in self.masters.values() {
            let name = &master.settings.name;
            for entry in &master.journal.entries {
                let time = crate::journal::clock(entry.wall_ms);
                let (epoch, event) = (entry.epoch, &entry.event);
                text.push_str(&format!("{time} {name} epoch {epoch} {event} {}\n", entry.text));
            }
        }
        text
    }
}

/// Whether a word could be a Sentinel's id.
pub(super) fn is_id(word: &str) -> bool {
    (1..=crate::settings::ID_LEN).contains(&word.len())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// What all kinds of instances have: identity, flags, connection.
fn begin(name: String, host: String, port: u16, id: &str) -> Fields {
    let mut fields = Fields(Vec::with_capacity(32));
    fields.text("name", name);
    fields.text("ip", host);
    fields.number("port", u64::from(port));
    fields.text("runid", id);
    fields
}

fn link_fields(fields: &mut Fields, link: &Link, shared: usize) {
    fields.number("link-pending-commands", link.pending() as u64);
    fields.number("link-refcount", shared as u64);
}

fn ping_fields(
    cx: &Context,
    fields: &mut Fields,
    link: &Link,
    down: Option<u64>,
    odown: Option<u64>,
) {
    let now = cx.ms();
    let age = |at: u64| now.saturating_sub(at);
    fields.number("last-ping-sent", link.silence(now));
    fields.number("last-ok-ping-reply", age(link.last_valid));
    fields.number("last-ping-reply", age(link.last_reply));
    if let Some(since) = down {
        fields.number("s-down-time", age(since));
    }
    if let Some(since) = odown {
        fields.number("o-down-time", age(since));
    }
}

fn info_fields(cx: &Context, fields: &mut Fields, server: &Server) {
    let now = cx.ms();
    fields.number("info-refresh", server.info_at.map_or(0, |at| now.saturating_sub(at)));
    fields.text("role-reported", server.role.name());
    fields.number("role-reported-time", now.saturating_sub(server.role_since));
}

fn master_fields(cx: &Context, master: &Master) -> Fields {
    let (server, settings) = (&master.server, &master.settings);
    let host = server.address.shown(&cx.globals);
    let id = server.run_id.as_deref().unwrap_or_default();
    let mut fields = begin(settings.name.clone(), host, server.address.port, id);
    let failover = master.failover.as_ref();
    let is_forced = failover.is_some_and(|it| it.kind != crate::master::FailoverKind::Elected);
    fields.text(
        "flags",
        flags(&[
            ("s_down", server.is_down()),
            ("o_down", master.odown_since.is_some()),
            ("master", true),
            ("disconnected", server.link.is_disconnected()),
            ("failover_in_progress", failover.is_some()),
            ("force_failover", is_forced),
            ("script_kill_sent", server.script_kill_sent),
            ("master_reboot", server.reboot_since.is_some()),
        ]),
    );
    link_fields(&mut fields, &server.link, 1);
    if let Some(failover) = failover {
        fields.text("failover-state", failover.phase.name());
    }
    ping_fields(cx, &mut fields, &server.link, server.down_since, master.odown_since);
    fields.number("down-after-milliseconds", settings.down_after_ms);
    info_fields(cx, &mut fields, server);
    fields.number("config-epoch", settings.config_epoch);
    fields.number("num-slaves", master.replicas.len() as u64);
    fields.number("num-other-sentinels", master.voters.len() as u64);
    fields.number("quorum", u64::from(settings.quorum));
    fields.number("failover-timeout", settings.failover_timeout_ms);
    fields.number("parallel-syncs", u64::from(settings.parallel_syncs));
    if let Some(script) = &settings.notification_script {
        fields.text("notification-script", script);
    }
    if let Some(script) = &settings.client_reconfig_script {
        fields.text("client-reconfig-script", script);
    }
    fields
}

fn replica_fields(cx: &Context, master: &Master, replica: &Server) -> Fields {
    let host = replica.address.shown(&cx.globals);
    let id = replica.run_id.as_deref().unwrap_or_default();
    let mut fields = begin(replica.address.with_port(&cx.globals), host, replica.address.port, id);
    fields.text(
        "flags",
        flags(&[
            ("s_down", replica.is_down()),
            ("slave", true),
            ("disconnected", replica.link.is_disconnected()),
            ("promoted", replica.is_promoted),
            ("reconf_sent", matches!(replica.reconf, Reconf::Sent(_))),
            ("reconf_inprog", replica.reconf == Reconf::InProgress),
            ("reconf_done", replica.reconf == Reconf::Done),
            ("script_kill_sent", replica.script_kill_sent),
        ]),
    );
    link_fields(&mut fields, &replica.link, 1);
    ping_fields(cx, &mut fields, &replica.link, replica.down_since, None);
    fields.number("down-after-milliseconds", master.settings.down_after_ms);
    info_fields(cx, &mut fields, replica);
    fields.number("master-link-down-time", replica.link_down_ms.min(i64::MAX as u64));
    fields.text("master-link-status", if replica.is_link_up { "ok" } else { "err" });
    fields.text("master-host", replica.master_host.as_deref().unwrap_or("?"));
    fields.number("master-port", u64::from(replica.master_port));
    fields.number("slave-priority", u64::from(replica.priority));
    fields.number("slave-repl-offset", replica.offset);
    fields.number("replica-announced", u64::from(replica.is_announced));
    fields
}

fn sentinel_fields(
    cx: &Context,
    master: &Master,
    (id, voter, peer): (&str, &Voter, &Peer),
    shared: usize,
) -> Fields {
    let mut fields = begin(id.to_owned(), peer.address.shown(&cx.globals), peer.address.port, id);
    fields.text(
        "flags",
        flags(&[
            ("s_down", voter.down_since.is_some()),
            ("sentinel", true),
            ("disconnected", peer.link.is_disconnected()),
            ("master_down", voter.says_down),
        ]),
    );
    link_fields(&mut fields, &peer.link, shared);
    ping_fields(cx, &mut fields, &peer.link, voter.down_since, None);
    fields.number("down-after-milliseconds", master.settings.down_after_ms);
    fields.number("last-hello-message", cx.ms().saturating_sub(voter.last_hello));
    fields.text("voted-leader", voter.leader.as_deref().unwrap_or("?"));
    fields.number("voted-leader-epoch", voter.leader_epoch);
    fields
}

/// A line about a master for INFO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its name.
    pub name: String,
    /// `ok`, `sdown` or `odown`.
    pub status: &'static str,
    /// Host and port.
    pub address: String,
    /// Number of replicas.
    pub replicas: usize,
    /// Number of Sentinels, with ourselves.
    pub sentinels: usize,
}

impl Sentinel {
    /// Returns a line about each master.
    pub fn summaries(&self) -> impl Iterator<Item = Summary> {
        self.masters.values().map(|master| {
            let status = match (master.odown_since, master.server.is_down()) {
                (Some(_), _) => "odown",
                (None, true) => "sdown",
                (None, false) => "ok",
            };
            let address = &master.server.address;
            Summary {
                name: master.settings.name.clone(),
                status,
                address: format!("{}:{}", address.shown(&self.cx.globals), address.port),
                replicas: master.replicas.len(),
                sentinels: master.voters_len(),
            }
        })
    }

    /// Returns for how many seconds nothing has been judged after a pause; none if it is.
    pub fn tilted_secs(&self) -> Option<u64> {
        self.cx.is_tilted.then(|| self.cx.ms().saturating_sub(self.pause.since) / 1000)
    }

    /// Returns the number of running scripts, and of all in the queue.
    pub fn scripts(&self) -> (usize, usize) {
        (self.scripts.running(), self.scripts.queue.len())
    }
}
