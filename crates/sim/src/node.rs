//! A data node as a machine: the only file that knows what `russet_engine::Node` is made of.

use std::sync::{Arc, Mutex, PoisonError};

use russet_engine::Node;
use russet_engine::busy::Activity;
use russet_engine::clients::client::Client;
use russet_engine::clients::outbox::Outbox;
use russet_engine::config::words::MasterAddress;
use russet_engine::config::{self, ClusterStart, Config, SentinelStart, Store};
use russet_engine::io::{Endpoints, Handle, Host, Input, Now, Output, Service};
use russet_engine::journal::{Origin, Sink, Unit};
use russet_engine::keyspace::Entry;
use russet_engine::mode::Mode;
use russet_engine::node::{Boot, Seeds};
use russet_engine::repl::psync;
use russet_engine::types::hash::HashRef;
use russet_engine::types::list::ListRef;
use russet_engine::types::set::SetRef;
use russet_engine::types::stream::{Stream as EngineStream, StreamId};
use russet_engine::types::string::Text;
use russet_engine::types::zset::ZsetRef;

use crate::digest;
use crate::ledger::{Recording, SharedLedger};
use crate::machine::{
    Append, Backlog, Belief, Beliefs, Counts, DataNode, FailoverStage, Machine, Place, Upstream,
};
use crate::model::hash::Hash;
use crate::model::list::List;
use crate::model::set::Set;
use crate::model::stream::{self, Group, Stream};
use crate::model::zset::Zset;
use crate::model::{Model, Value};
use crate::resp::parse_command;

/// The injected bug's type; without the feature there is none to name.
#[cfg(feature = "injected")]
pub use russet_engine::injected::Bug;

/// No bug can be injected in this build.
#[cfg(not(feature = "injected"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {}

/// The same of a Sentinel.
#[cfg(feature = "injected")]
pub use russet_engine::injected::SentinelBug;

/// No bug can be injected in this build.
#[cfg(not(feature = "injected"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentinelBug {}

/// The same of a node of a cluster.
#[cfg(feature = "injected")]
pub use russet_engine::injected::ClusterBug;

/// No bug can be injected in this build.
#[cfg(not(feature = "injected"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterBug {}

/// A bug that all machines of a world have.
#[derive(Clone, Copy, Debug)]
pub enum Injected {
    /// In data nodes.
    Data(Bug),
    /// In Sentinels.
    Sentinel(SentinelBug),
    /// In nodes of a cluster.
    Cluster(ClusterBug),
}

impl Injected {
    /// The one of data nodes, if it is that.
    pub fn of_data(self) -> Option<Bug> {
        match self {
            Injected::Data(bug) => Some(bug),
            _ => None,
        }
    }
}

/// Whether syncs of folders are forgotten.
pub fn forgets_folders(bug: Option<Bug>) -> bool {
    #[cfg(feature = "injected")]
    return bug == Some(Bug::UnsyncedFolder);
    #[cfg(not(feature = "injected"))]
    bug.is_some()
}

/// Whether files get their names before they are synced.
pub fn renames_unsynced(bug: Option<Bug>) -> bool {
    #[cfg(feature = "injected")]
    return bug == Some(Bug::UnsyncedRename);
    #[cfg(not(feature = "injected"))]
    bug.is_some()
}

/// What a process starts with.
pub struct Start<'a> {
    /// What its configuration file says.
    pub config: &'a Config,
    /// Everything random in the machine comes from this.
    pub seed: [u64; 4],
    /// Process id.
    pub pid: u32,
    /// Whether keys are spread by their slots.
    pub by_slot: bool,
    /// How far requests are read ahead.
    pub read_ahead_bytes: usize,
    /// How much of a payload is kept for a replica that has not read it.
    pub payload_ahead_bytes: usize,
    /// A second sink of its journal is compared with its data.
    pub mirrors: bool,
    /// A sink of its journal that outlives it.
    pub ledger: Option<SharedLedger>,
    /// What it knows of its cluster, if it is a node of one.
    pub cluster: Option<ClusterStart>,
    /// The bug to have.
    pub injected: Option<Injected>,
}

/// Starts a data node, which loads its file first.
pub fn start(start: Start<'_>, now: Now) -> Box<dyn Machine> {
    let mut boot = Boot {
        seeds: Seeds::derive(start.seed),
        pid: start.pid,
        by_slot: start.by_slot,
        config_file: Some("/etc/redis.conf".to_owned()),
        load: true,
        read_ahead_bytes: Some(start.read_ahead_bytes),
        payload_ahead_bytes: Some(start.payload_ahead_bytes),
        ..Boot::default()
    };
    if let Some(cluster) = start.cluster {
        (boot.mode, boot.cluster) = (Mode::Cluster, Some(cluster));
    }
    set_bug(&mut boot, start.injected);
    let mut node = Node::new(start.config.clone(), boot, now);
    if let Some(ledger) = start.ledger {
        node.journal.attach(Box::new(Recording(ledger)));
    }
    let mirror = start.mirrors.then(|| {
        let mirror = Arc::new(Mutex::new(Mirror { is_stale: true, ..Mirror::default() }));
        node.journal.attach(Box::new(Mirroring(mirror.clone())));
        mirror
    });
    Box::new(Data { node, mirror, is_sentinel: false })
}

/// What the process of a Sentinel starts with.
pub struct SentinelBoot<'a> {
    /// Its configuration file, with the state of its last life.
    pub text: &'a [u8],
    /// That file's path.
    pub path: &'a str,
    /// The file of the journal of its last life.
    pub journal: &'a [u8],
    /// Everything random in the machine comes from this.
    pub seed: [u64; 4],
    /// Process id.
    pub pid: u32,
    /// The bug to have.
    pub bug: Option<SentinelBug>,
}

/// Starts a Sentinel. The error is what is wrong with its file.
pub fn start_sentinel(start: SentinelBoot<'_>, now: Now) -> Result<Box<dyn Machine>, String> {
    let source = config::Source { place: config::Place::Text, text: start.text.to_vec() };
    let loaded = Config::parse_for(Mode::Sentinel, &[source], &mut |_, _| Ok(Vec::new()));
    let loaded = loaded.map_err(|error| format!("{error:?}"))?;
    let settings = loaded.sentinel.ok_or("there are no lines about masters")?.settings;
    let store = Store::Configuration { path: start.path.to_owned() };
    let mut boot = Boot {
        seeds: Seeds::derive(start.seed),
        pid: start.pid,
        mode: Mode::Sentinel,
        config_file: Some(start.path.to_owned()),
        sentinel: Some(SentinelStart { settings, store, journal: start.journal.to_vec() }),
        ..Boot::default()
    };
    set_sentinel_bug(&mut boot, start.bug);
    let node = Node::new(loaded.config, boot, now);
    Ok(Box::new(Data { node, mirror: None, is_sentinel: true }))
}

/// A data node, and what a second sink of its journal makes of it.
struct Data {
    node: Node,
    mirror: Option<Arc<Mutex<Mirror>>>,
    /// It is a Sentinel, and holds no data.
    is_sentinel: bool,
}

/// Data that is made of nothing but a journal's effects.
#[derive(Default)]
struct Mirror {
    model: Model,
    position: u64,
    /// All data was replaced: the model is to begin anew with a copy of it.
    is_stale: bool,
    /// An effect that could not be applied.
    broken: Option<String>,
}

struct Mirroring(Arc<Mutex<Mirror>>);

impl Sink for Mirroring {
    fn listens(&self, _origin: Origin) -> bool {
        true
    }

    fn unit(&mut self, unit: &Unit<'_>) {
        let mut mirror = lock(&self.0);
        let mut count = 0;
        for (db, command) in unit.iter() {
            count += 1;
            if mirror.is_stale {
                continue;
            }
            mirror.model.select(db);
            let applied = match parse_command(command) {
                Ok(Some((args, used))) if used == command.len() => mirror.model.apply(&args),
                Ok(_) => Err("an effect is not one whole command".to_owned()),
                Err(what) => Err(what),
            };
            if let Err(what) = applied {
                mirror.broken.get_or_insert(what);
            }
        }
        if !mirror.is_stale && unit.position != mirror.position + count {
            let what =
                format!("{count} effects lead from {} to {}", mirror.position, unit.position);
            mirror.broken.get_or_insert(what);
        }
        mirror.position = unit.position;
    }

    fn replaced(&mut self) {
        lock(&self.0).is_stale = true;
    }
}

/// A world has one thread; one that panicked has nothing left to say.
fn lock(mirror: &Mutex<Mirror>) -> std::sync::MutexGuard<'_, Mirror> {
    mirror.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(feature = "injected")]
fn set_bug(boot: &mut Boot, injected: Option<Injected>) {
    match injected {
        Some(Injected::Data(bug)) => boot.bug = Some(bug),
        Some(Injected::Cluster(bug)) => boot.cluster_bug = Some(bug),
        Some(Injected::Sentinel(_)) | None => {}
    }
}

#[cfg(not(feature = "injected"))]
fn set_bug(_boot: &mut Boot, injected: Option<Injected>) {
    debug_assert!(injected.is_none(), "there are none in this build");
}

#[cfg(feature = "injected")]
fn set_sentinel_bug(boot: &mut Boot, bug: Option<SentinelBug>) {
    boot.sentinel_bug = bug;
}

#[cfg(not(feature = "injected"))]
fn set_sentinel_bug(_boot: &mut Boot, bug: Option<SentinelBug>) {
    match bug {
        None => {}
        Some(never) => match never {},
    }
}

/// Replaces a text, whose memory is used again.
fn replace(text: &mut String, by: &str) {
    text.clear();
    text.push_str(by);
}

/// The value of an entry.
fn value_of(entry: &Entry<'_>) -> Value {
    if let Some(text) = Text::of(entry) {
        return Value::String(text.bytes().to_vec());
    }
    if let Some(list) = ListRef::of(entry) {
        let mut elements = List::new();
        list.each(&mut |element| elements.push(element.to_text().into_owned()));
        assert_eq!(list.len(), elements.len(), "a list knows how many elements it has");
        return Value::List(Arc::new(elements));
    }
    if let Some(set) = SetRef::of(entry) {
        let mut members = Set::new();
        set.each(&mut |member| {
            assert!(members.insert(member.to_text().into_owned()), "a member stands once");
        });
        assert_eq!(set.len(), members.len(), "a set knows how many members it has");
        return Value::Set(Arc::new(members));
    }
    if let Some(stream) = EngineStream::of(entry) {
        return Value::Stream(Arc::new(stream_of(stream)));
    }
    if let Some(zset) = ZsetRef::of(entry) {
        let mut members = Zset::new();
        zset.each(&mut |member, score| {
            let twice = members.insert(member.to_text().into_owned(), score.to_bits());
            assert_eq!(twice, None, "a member stands once");
        });
        assert_eq!(zset.len(), members.len(), "a sorted set knows how many members it has");
        return Value::Zset(Arc::new(members));
    }
    let mut hash = Hash::default();
    each_field(entry, |name, value, expiry| {
        assert!(hash.set(name, value, expiry), "a field stands once in its hash");
    });
    let count = HashRef::of(entry).map(HashRef::len);
    assert_eq!(count, Some(hash.len()), "a hash knows how many fields it has");
    Value::Hash(Arc::new(hash))
}

/// A stream with its groups.
fn stream_of(stream: &EngineStream) -> Stream {
    let id = |id: StreamId| (id.ms, id.seq);
    let mut model = Stream {
        last: id(stream.log.last_id),
        deleted: id(stream.log.max_deleted_id),
        added: stream.log.entries_added,
        ..Stream::default()
    };
    stream.log.each(&mut |entry| {
        let fields = entry.fields();
        let fields = fields.flat_map(|(name, value)| [name, value].map(|it| it.to_text().into()));
        let twice = model.entries.insert(id(entry.id), fields.collect());
        assert!(twice.is_none(), "an entry stands once");
    });
    assert_eq!(stream.log.len(), model.entries.len() as u64, "it knows how many entries it has");
    let first = model.entries.keys().next().copied().unwrap_or_default();
    assert_eq!(id(stream.log.first_id), first, "it knows its first entry");
    for (name, group) in &stream.groups {
        let mut of_consumers = 0;
        let mut copy =
            Group { last: id(group.last_id), read: group.entries_read, ..Group::default() };
        for (name, consumer) in group.consumers() {
            copy.consumers.insert(name.to_vec());
            of_consumers += consumer.pending().len();
        }
        for (at, pending) in group.pending() {
            let consumer = group.consumers().get(&*pending.consumer);
            let is_owned = consumer.is_some_and(|consumer| consumer.pending().get(at).is_some());
            assert!(is_owned, "a pending entry is that of its consumer");
            let value = (pending.consumer.to_vec(), pending.delivered_ms, pending.deliveries);
            copy.pending.insert(id(*at), value);
        }
        assert_eq!(of_consumers, copy.pending.len(), "nobody has pending entries that are not");
        model.groups.insert(name.to_vec(), copy);
    }
    model
}

/// The digest of an entry's value.
fn digest_of(entry: &Entry<'_>) -> u64 {
    if let Some(text) = Text::of(entry) {
        return digest::of_string(text.bytes());
    }
    if let Some(list) = ListRef::of(entry) {
        let mut sum = digest::of_list();
        list.each(&mut |element| sum = digest::mix(sum, digest::of_string(&element.to_text())));
        return sum;
    }
    if let Some(stream) = EngineStream::of(entry) {
        return stream::digest_of(&stream_of(stream));
    }
    let mut sum = 0_u64;
    if let Some(set) = SetRef::of(entry) {
        set.each(&mut |member| {
            sum = sum.wrapping_add(digest::of_element(&member.to_text(), b"", None));
        });
        return digest::of_set(sum);
    }
    if let Some(zset) = ZsetRef::of(entry) {
        zset.each(&mut |member, score| {
            let score = score.to_bits().to_le_bytes();
            sum = sum.wrapping_add(digest::of_element(&member.to_text(), &score, None));
        });
        return digest::of_zset(sum);
    }
    each_field(entry, |name, value, expiry| {
        sum = sum.wrapping_add(digest::of_element(name, value, expiry));
    });
    digest::of_hash(sum)
}

/// Hands over the fields of a hash: their names, values and expiries.
fn each_field(entry: &Entry<'_>, mut sink: impl FnMut(&[u8], &[u8], Option<i64>)) {
    let hash = HashRef::of(entry).expect("a value of a type that the load sets");
    hash.each(&mut |field| sink(&field.name_text(), &field.value_text(), field.expiry));
}

impl Machine for Data {
    fn handle(&mut self, now: Now, input: Input) {
        self.node.handle(now, input);
    }

    fn turn(&mut self, now: Now, host: &mut dyn Host) {
        self.node.turn(now, host);
    }

    fn poll_output(&mut self, now: Now) -> Output {
        self.node.poll_output(now)
    }

    fn accept(&mut self, now: Now, service: Service, ends: Endpoints) -> Result<Handle, Vec<u8>> {
        self.node.accept(now, service, ends)
    }

    fn read_buffer(&mut self, handle: Handle) -> Option<&mut Vec<u8>> {
        self.node.read_buffer(handle)
    }

    fn received(&mut self, now: Now, handle: Handle) {
        self.node.received(now, handle);
    }

    fn take_dirty(&mut self, into: &mut Vec<Handle>) {
        self.node.take_dirty(into);
    }

    fn outbox(&mut self, handle: Handle) -> Option<&mut Outbox> {
        self.node.outbox(handle)
    }

    fn written(&mut self, handle: Handle, bytes: usize) {
        self.node.written(handle, bytes);
    }

    fn knows(&self, handle: Handle) -> bool {
        self.node.parts.clients.get(handle).is_some()
    }

    fn commands(&self) -> u64 {
        self.node.core.stats.commands
    }

    fn data(&self) -> Option<&dyn DataNode> {
        (!self.is_sentinel).then_some(self)
    }

    fn cluster(&self) -> Option<&russet_cluster::Cluster> {
        self.node.parts.cluster.machine()
    }

    fn observe_beliefs(&self, beliefs: &mut Beliefs) -> bool {
        let Some(machine) = self.node.parts.sentinel.machine() else { return false };
        replace(&mut beliefs.id, machine.my_id());
        beliefs.is_tilted = machine.tilted_secs().is_some();
        let now = machine.beliefs();
        beliefs.masters.resize_with(now.len(), Belief::default);
        for (belief, it) in beliefs.masters.iter_mut().zip(now) {
            replace(&mut belief.name, it.name);
            it.host.put_into(&mut belief.host);
            belief.config_epoch = it.config_epoch;
            belief.leader_epoch = it.leader_epoch;
            belief.quorum = it.quorum;
            belief.sentinels = it.sentinels;
            belief.is_down = it.is_down;
            belief.failover = it.failover;
        }
        true
    }
}

impl DataNode for Data {
    fn changes(&self) -> (u64, u64) {
        let stats = &self.node.data.stats;
        (self.node.data.dirty, stats.expired_keys + stats.expired_elements)
    }

    fn is_loading(&self) -> bool {
        self.node.parts.loading.is_loading()
    }

    fn is_within_exec(&self) -> bool {
        self.node.parts.busy.is(Activity::Exec)
    }

    fn has_keys_in(&self, slot: u16) -> bool {
        self.node.data.dbs().any(|(_, db)| db.slot(slot).keys > 0)
    }

    fn is_replica(&self) -> bool {
        self.node.core.is_replica
    }

    fn is_saving(&self) -> bool {
        !self.node.parts.saves.snapshots.is_empty()
    }

    fn loaded_bytes(&self) -> u64 {
        let file = self.node.parts.loading.progress().map_or(0, |load| load.loaded_bytes);
        let payload = self.node.parts.following.master().and_then(|master| master.sync_progress());
        file + payload.map_or(0, |(_, received)| received)
    }

    fn is_walking(&self) -> bool {
        self.node.parts.saves.snapshots.iter().any(|snapshot| snapshot.is_walking())
    }

    fn is_inside_value(&self) -> bool {
        self.node.data.walks.is_inside_value()
    }

    fn counts(&self) -> Counts {
        let (stats, disturbed) = (&self.node.data.stats, self.node.data.walks.disturbed());
        let failovers = &self.node.parts.failover.counts;
        Counts {
            expired_elements: stats.expired_elements,
            converted: stats.converted,
            changed_in_walk: disturbed.changed,
            moved_in_walk: disturbed.moved,
            removed_in_walk: disturbed.removed,
            replaced_in_walk: disturbed.replaced,
            failovers: failovers.completed,
            forced_failovers: failovers.forced,
            late_failovers: failovers.timed_out,
            aborted_failovers: failovers.aborted,
            refused_failovers: failovers.refused,
            lost_failovers: failovers.lost,
        }
    }

    fn failover(&self) -> FailoverStage {
        let failover = &self.node.parts.failover;
        match (failover.is_running(), failover.is_in_progress()) {
            (false, _) => FailoverStage::None,
            (true, false) => FailoverStage::Waits,
            (true, true) => FailoverStage::Asks,
        }
    }

    fn place(&self) -> Place<'_> {
        let stream = &self.node.parts.master.stream;
        let ids = &stream.ids;
        Place {
            id: &ids.id,
            offset: stream.offset(),
            second_id: &ids.id2,
            second_offset: ids.second_offset,
        }
    }

    fn selected_db(&self) -> u32 {
        self.node.stream_db()
    }

    fn continues(&self, id: &str, offset: i64) -> bool {
        let stream = &self.node.parts.master.stream;
        let decision = psync::decide(&stream.ids, stream.backlog.as_ref(), id, Some(offset));
        decision == psync::Decision::Continue
    }

    fn backlog(&self) -> Option<Backlog> {
        let backlog = self.node.parts.master.stream.backlog.as_ref()?;
        Some(Backlog {
            first: backlog.first_offset(),
            next: backlog.next_offset(),
            is_full: backlog.len() >= backlog.size_max(),
        })
    }

    fn stream_since(&self, offset: i64) -> Vec<u8> {
        let Some(backlog) = &self.node.parts.master.stream.backlog else { return Vec::new() };
        backlog.since(offset).iter().flat_map(|block| block.iter().copied()).collect()
    }

    fn digest(&self) -> u64 {
        digest::of_dbs(self.node.data.dbs().map(|(number, db)| {
            let mut sum = 0_u64;
            db.table().for_each(&mut |entry| {
                let of_entry = digest::of_entry(entry.key(), digest_of(&entry), entry.expiry());
                sum = sum.wrapping_add(of_entry);
            });
            (number, sum)
        }))
    }

    fn model(&self) -> Model {
        let mut model = Model::default();
        for (number, db) in self.node.data.dbs() {
            db.table().for_each(&mut |entry| {
                model.insert(number, entry.key(), value_of(&entry), entry.expiry());
            });
        }
        model
    }

    fn mirrored(&self) -> Option<Result<u64, String>> {
        let mut mirror = lock(self.mirror.as_ref()?);
        if self.is_loading() || self.is_within_exec() {
            return None;
        }
        if std::mem::take(&mut mirror.is_stale) {
            mirror.model = self.model();
            return None;
        }
        Some(mirror.broken.clone().map_or_else(|| Ok(mirror.model.digest()), Err))
    }

    fn mirror_difference(&self) -> Option<String> {
        let mirror = lock(self.mirror.as_ref()?);
        self.model().difference(&mirror.model)
    }

    fn upstream(&self) -> Option<Upstream<'_>> {
        let master = self.node.parts.following.master()?;
        Some(Upstream {
            host: &master.host,
            is_online: master.is_online(),
            state: master.state_name(),
        })
    }

    fn is_mid_value(&self, handle: Handle) -> bool {
        let master = self.node.parts.following.master();
        master.is_some_and(|master| master.link == Some(handle) && master.is_inside_value())
    }

    fn is_mid_frame(&self, handle: Handle) -> bool {
        let link = self.node.parts.clients.get(handle).filter(|client| client.is_master_link());
        let Some(client) = link else { return false };
        let master =
            self.node.parts.following.master().filter(|master| master.link == Some(handle));
        let progress = master.and_then(|master| master.sync_progress());
        let in_payload = progress.is_some_and(|(_, received)| received > 0);
        client.wire.pending() > 0 || in_payload || master.is_some_and(|m| m.partial_len() > 0)
    }

    fn replicaof(&self) -> Option<MasterAddress> {
        self.node.core.config.replicaof.clone()
    }

    fn unsaved_changes(&self) -> u64 {
        self.node.parts.saves.unsaved_changes(&self.node.data)
    }

    fn save_point_secs(&self, changes: u64) -> Option<u64> {
        let points = self.node.core.config.save.0.iter();
        points.filter(|point| changes >= point.changes).map(|point| point.seconds).min()
    }

    fn is_held(&self, handle: Handle) -> bool {
        let parts = &self.node.parts;
        let waits_for_file = |client: &Client| {
            let outbox = &client.wire.outbox;
            !outbox.is_empty() && !outbox.has_open_bytes()
        };
        parts.busy.holds_all()
            || parts.clients.waiting(handle).is_some()
            || parts.clients.get(handle).is_some_and(waits_for_file)
    }

    fn replica_timeout_us(&self) -> u64 {
        self.node.core.config.repl_timeout as u64 * 1_000_000
    }

    fn least_replicas(&self) -> (u32, u32) {
        let config = &self.node.core.config;
        (config.min_replicas_to_write, config.min_replicas_max_lag)
    }

    fn wants_append_only(&self) -> bool {
        self.node.core.config.appendonly
    }

    fn append(&self) -> Option<Append> {
        let aof = &self.node.parts.aof;
        let log = aof.log()?;
        Some(Append {
            is_relied_on: aof.is_relied_on(),
            fsync: aof.policy(),
            is_stuck: log.write_error.is_some(),
            has_failed_sync: log.sync_error.is_some(),
            is_behind: !log.is_synced(),
        })
    }

    fn limits_replicas(&self) -> bool {
        self.node.core.config.client_output_buffer_limit.replica.hard_bytes != 0
    }
}
