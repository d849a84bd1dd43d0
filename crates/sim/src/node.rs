//! A data node as a machine: the only file that knows what `russet_engine::Node` is made of.

use russet_engine::Node;
use russet_engine::busy::With;
use russet_engine::clients::outbox::Outbox;
use russet_engine::config::Config;
use russet_engine::config::words::MasterAddress;
use russet_engine::io::{Endpoints, Handle, Host, Input, Now, Output, Service};
use russet_engine::mode::Mode;
use russet_engine::node::Boot;
use russet_engine::types::string::Text;

use crate::digest;
use crate::machine::{Backlog, DataNode, Machine, Place, Upstream};
use crate::model::Model;

/// The injected bug's type; without the feature there is none to name.
#[cfg(feature = "injected")]
pub use russet_engine::injected::Bug;

/// No bug can be injected in this build.
#[cfg(not(feature = "injected"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {}

/// What a process starts with.
pub struct Start<'a> {
    /// What its configuration file says.
    pub config: &'a Config,
    /// Everything random in the machine comes from this.
    pub seed: [u64; 4],
    /// Process id.
    pub pid: u32,
    /// Which keys share a slot.
    pub mode: Mode,
    /// How far requests are read ahead.
    pub read_ahead_bytes: usize,
    /// The bug to have.
    pub bug: Option<Bug>,
}

/// Starts a data node, which loads its file first.
pub fn start(start: Start<'_>, now: Now) -> Box<dyn Machine> {
    let mut boot = Boot {
        seed: start.seed,
        pid: start.pid,
        mode: start.mode,
        load: true,
        read_ahead_bytes: Some(start.read_ahead_bytes),
        ..Boot::default()
    };
    set_bug(&mut boot, start.bug);
    Box::new(Node::new(start.config.clone(), boot, now))
}

#[cfg(feature = "injected")]
fn set_bug(boot: &mut Boot, bug: Option<Bug>) {
    boot.bug = bug;
}

#[cfg(not(feature = "injected"))]
fn set_bug(_boot: &mut Boot, bug: Option<Bug>) {
    match bug {
        None => {}
        Some(never) => match never {},
    }
}

impl Machine for Node {
    fn handle(&mut self, now: Now, input: Input) {
        Node::handle(self, now, input);
    }

    fn turn(&mut self, now: Now, host: &mut dyn Host) {
        Node::turn(self, now, host);
    }

    fn poll_output(&mut self, now: Now) -> Output {
        Node::poll_output(self, now)
    }

    fn accept(&mut self, now: Now, service: Service, ends: Endpoints) -> Result<Handle, Vec<u8>> {
        Node::accept(self, now, service, ends)
    }

    fn read_buffer(&mut self, handle: Handle) -> Option<&mut Vec<u8>> {
        Node::read_buffer(self, handle)
    }

    fn received(&mut self, now: Now, handle: Handle) {
        Node::received(self, now, handle);
    }

    fn take_dirty(&mut self, into: &mut Vec<Handle>) {
        Node::take_dirty(self, into);
    }

    fn outbox(&mut self, handle: Handle) -> Option<&mut Outbox> {
        Node::outbox(self, handle)
    }

    fn written(&mut self, handle: Handle, bytes: usize) {
        Node::written(self, handle, bytes);
    }

    fn knows(&self, handle: Handle) -> bool {
        self.parts.clients.get(handle).is_some()
    }

    fn commands(&self) -> u64 {
        self.core.stats.commands
    }

    fn data(&self) -> Option<&dyn DataNode> {
        Some(self)
    }
}

impl DataNode for Node {
    fn changes(&self) -> (u64, u64) {
        (self.data.dirty, self.data.stats.expired_keys)
    }

    fn is_loading(&self) -> bool {
        self.parts.loading.is_loading()
    }

    fn is_within_exec(&self) -> bool {
        self.parts.busy.is(With::Exec)
    }

    fn is_replica(&self) -> bool {
        self.core.is_replica
    }

    fn is_saving(&self) -> bool {
        !self.parts.saves.snapshots.is_empty()
    }

    fn is_walking(&self) -> bool {
        self.parts.saves.snapshots.iter().any(|snapshot| snapshot.is_walking())
    }

    fn place(&self) -> Place<'_> {
        let stream = &self.parts.master.stream;
        let ids = &stream.ids;
        Place {
            id: &ids.id,
            offset: stream.offset(),
            second_id: &ids.id2,
            second_offset: ids.second_offset,
        }
    }

    fn backlog(&self) -> Option<Backlog> {
        let backlog = self.parts.master.stream.backlog.as_ref()?;
        Some(Backlog {
            first: backlog.first_offset(),
            next: backlog.next_offset(),
            is_full: backlog.len() >= backlog.size_max(),
        })
    }

    fn stream_since(&self, offset: i64) -> Vec<u8> {
        let Some(backlog) = &self.parts.master.stream.backlog else { return Vec::new() };
        backlog.since(offset).iter().flat_map(|block| block.iter().copied()).collect()
    }

    fn digest(&self) -> u64 {
        digest::of_dbs(self.data.dbs().map(|(number, db)| {
            let mut sum = 0_u64;
            db.table().for_each(&mut |entry| {
                let value = Text::of(&entry).expect("the load sets strings").bytes();
                sum = sum.wrapping_add(digest::of_entry(entry.key(), value, entry.expiry()));
            });
            (number, sum)
        }))
    }

    fn model(&self) -> Model {
        let mut model = Model::new(self.stream_db());
        for (number, db) in self.data.dbs() {
            db.table().for_each(&mut |entry| {
                let value = Text::of(&entry).expect("the load sets strings").bytes();
                model.insert(number, entry.key(), value, entry.expiry());
            });
        }
        model
    }

    fn upstream(&self) -> Option<Upstream<'_>> {
        let master = self.parts.following.master()?;
        Some(Upstream {
            host: &master.host,
            is_online: master.is_online(),
            state: master.state_name(),
        })
    }

    fn is_mid_frame(&self, handle: Handle) -> bool {
        let link = self.parts.clients.get(handle).filter(|client| client.is_master_link());
        let Some(client) = link else { return false };
        let master = self.parts.following.master().filter(|master| master.link == Some(handle));
        let progress = master.and_then(|master| master.sync_progress());
        let in_payload = progress.is_some_and(|(_, received)| received > 0);
        client.wire.pending() > 0 || in_payload || master.is_some_and(|m| m.partial_len() > 0)
    }

    fn replicaof(&self) -> Option<MasterAddress> {
        self.core.config.replicaof.clone()
    }

    fn limits_replicas(&self) -> bool {
        self.core.config.client_output_buffer_limit.replica.hard_bytes != 0
    }
}
