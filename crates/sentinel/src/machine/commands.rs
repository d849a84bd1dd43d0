//! The subcommands of SENTINEL that ask: about masters, replicas, Sentinels, opinions and votes.

use russet_protocol::{ErrorReply, ReplyWriter};

use super::fields::{master_fields, replica_fields, sentinel_fields};
use super::{End, Sentinel};
use crate::explain::explain;
use crate::io::Now;
use crate::master::Master;
use russet_journal::{self as journal, Entry};

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

    /// Returns itself at this time, for a command that only looks.
    fn at(&mut self, now: Now) -> &Sentinel {
        self.cx.now = now;
        self
    }

    /// SENTINEL MASTERS.
    pub fn masters(&mut self, now: Now, reply: &mut ReplyWriter<'_>) {
        let it = self.at(now);
        reply.array(it.masters.len());
        for master in it.masters.values() {
            master_fields(&it.cx, master).write(reply);
        }
    }

    /// SENTINEL MASTER.
    pub fn master(
        &mut self,
        now: Now,
        name: &[u8],
        reply: &mut ReplyWriter<'_>,
    ) -> Result<(), ErrorReply> {
        let it = self.at(now);
        master_fields(&it.cx, it.find(name)?).write(reply);
        Ok(())
    }

    /// SENTINEL REPLICAS: those that want to be listed.
    pub fn replicas(
        &mut self,
        now: Now,
        name: &[u8],
        reply: &mut ReplyWriter<'_>,
    ) -> Result<(), ErrorReply> {
        let it = self.at(now);
        let master = it.find(name)?;
        let listed = || master.replicas.iter().filter(|replica| replica.is_announced);
        reply.array(listed().count());
        for replica in listed() {
            replica_fields(&it.cx, master, replica).write(reply);
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
        let it = self.at(now);
        let master = it.find(name)?;
        let known = || {
            let voters = master.voters.iter();
            voters.filter_map(|(id, voter)| Some((id, voter, it.peers.get(id)?)))
        };
        reply.array(known().count());
        for (id, voter, peer) in known() {
            let watches = |master: &&Master| master.voters.contains_key(id);
            let shared = it.masters.values().filter(watches).count();
            sentinel_fields(&it.cx, master, (id, voter, peer), shared).write(reply);
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
        let it = self.at(now);
        let ms = it.cx.ms();
        let is_wanted = |master: &&Master| names.contains(&master.settings.name.as_bytes());
        let wanted: Vec<&Master> = it.masters.values().filter(is_wanted).collect();
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
        let of = |master: &&'_ Master| -> Vec<(String, Entry)> {
            let name = &master.settings.name;
            master.journal.entries.iter().map(|entry| (name.clone(), entry.clone())).collect()
        };
        let mut entries: Vec<_> = masters.iter().flat_map(of).collect();
        entries.sort_by_key(|(_, entry)| entry.order());
        let first = entries.len().saturating_sub(count);
        reply.array(entries.len() - first);
        for (name, entry) in &entries[first..] {
            reply.map(5);
            reply.bulk(b"time");
            reply.bulk(journal::clock(entry.wall_ms).as_bytes());
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
        let text = explain(&self.find(name)?.journal, self.my_id());
        let text =
            text.unwrap_or_else(|| "The journal has no failover of this master.\n".to_owned());
        reply.verbatim(text.as_bytes());
        Ok(())
    }

    /// Returns the text of the journal's file.
    pub fn journal_text(&self) -> String {
        let journals = self.masters.values().map(|master| (master.name(), &master.journal));
        journal::file_text(journals)
    }
}

/// Whether a word could be a Sentinel's id.
pub(super) fn is_id(word: &str) -> bool {
    (1..=crate::settings::ID_LEN).contains(&word.len())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
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
