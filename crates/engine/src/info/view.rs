//! What INFO's rows read: the node, and metrics of all clients, collected once. Also the sections
//! with a line for each command, error and database, and Russet's own section.

use super::{Field, Kind, Section, Value, field, ratio};
use crate::clients::{Client, LinkOwner, Role};
use crate::core::Core;
use crate::journal::Journal;
use crate::keyspace::{Db, Keyspace};
use crate::parts::Parts;

/// Sampled keys that estimate a database's average time to live.
const TTL_SAMPLES: usize = 32;

/// A view of the node for one INFO reply.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Settings, time, counters.
    pub core: &'a Core,
    /// The keys.
    pub data: &'a Keyspace,
    /// The journal.
    pub journal: &'a Journal,
    /// Connections, replication, persistence and so on.
    pub parts: &'a Parts,
    /// The names of all commands by index.
    pub command_names: &'a [&'static str],
    /// Memory of the program, data and buffers.
    pub used_bytes: u64,
    /// Clients, without replicas and connecting master links.
    pub clients: usize,
    /// Blocked clients.
    pub blocked: usize,
    /// Clients that watch keys.
    pub watching: usize,
    /// The largest query buffer.
    pub input_bytes_max: u64,
    /// The largest output buffer.
    pub output_bytes_max: u64,
    /// Memory of clients that are not replicas.
    pub client_bytes: u64,
    /// Memory of replicas.
    pub replica_bytes: u64,
    /// The largest output buffer of a replica.
    pub replica_output_max: u64,
    /// Connections of the cluster bus.
    pub bus_links: usize,
    /// Their memory.
    pub bus_bytes: u64,
}

impl<'a> View<'a> {
    /// Creates a view, visiting each client once.
    pub fn new(
        (core, data, journal): (&'a Core, &'a Keyspace, &'a Journal),
        parts: &'a Parts,
        command_names: &'a [&'static str],
    ) -> View<'a> {
        let mut view = View {
            core,
            data,
            journal,
            parts,
            command_names,
            used_bytes: (parts.used_memory(core) + data.allocated_bytes()) as u64,
            clients: 0,
            blocked: 0,
            watching: 0,
            input_bytes_max: 0,
            output_bytes_max: 0,
            client_bytes: 0,
            replica_bytes: 0,
            replica_output_max: 0,
            bus_links: 0,
            bus_bytes: 0,
        };
        parts.clients.iter().for_each(|client| view.add(client));
        view
    }

    fn add(&mut self, client: &Client) {
        let bytes = client.memory_bytes() as u64;
        let output = client.wire.outbox.len() as u64;
        if client.role == Role::Link(LinkOwner::Bus) {
            self.bus_links += 1;
            self.bus_bytes += bytes;
            return;
        }
        if client.is_replica() {
            self.replica_bytes += bytes;
            self.replica_output_max = self.replica_output_max.max(output);
            return;
        }
        if client.is_migrate_link() {
            return;
        }
        self.client_bytes += bytes;
        let online = self.parts.following.master().is_some_and(|master| master.is_online());
        self.clients += usize::from(!client.is_master_link() || online);
        self.blocked += usize::from(client.blocked.is_some());
        self.watching += usize::from(!client.watched.is_empty());
        self.input_bytes_max = self.input_bytes_max.max(client.wire.query.capacity() as u64);
        self.output_bytes_max = self.output_bytes_max.max(output);
    }

    /// Returns the bytes in the backlog.
    pub fn backlog_bytes(&self) -> u64 {
        self.parts.master.stream.backlog.as_ref().map_or(0, |backlog| backlog.len() as u64)
    }

    /// Returns the memory of the backlog and replica output buffers, which share blocks.
    pub fn stream_bytes(&self) -> u64 {
        self.backlog_bytes().max(self.replica_output_max)
    }

    /// Returns the memory of the program at its start.
    pub fn startup_bytes(&self) -> u64 {
        self.core.stats.startup_bytes.unwrap_or_default()
    }

    /// Returns the peak of used memory.
    pub fn peak_bytes(&self) -> u64 {
        self.used_bytes.max(self.core.stats.memory_peak)
    }

    /// Returns the memory of hash tables and entries.
    pub fn dataset_bytes(&self) -> u64 {
        self.data.allocated_bytes() as u64
    }
}

/// The sections with a line for each command, error and database.
pub(super) const STATISTICS: &[Field] = &[
    field(
        Section::Commandstats,
        "cmdstat_NAME",
        Kind::Lines,
        "Each command and subcommand that was called: executed calls, microseconds in total \
         and per call, calls rejected before execution, calls that failed.",
        command_lines,
    ),
    field(
        Section::Errorstats,
        "errorstat_CODE",
        Kind::Lines,
        "Error replies by error code.",
        |view| {
            let errors = view.core.stats.errors.iter();
            let line = |(code, count): (&String, &u64)| {
                (format!("errorstat_{}", safe(code)), format!("count={count}"))
            };
            Value::Lines(errors.map(line).collect())
        },
    ),
    field(
        Section::Cluster,
        "cluster_enabled",
        Kind::Flag,
        "Whether cluster mode is enabled.",
        |view| view.core.config.cluster_enabled.into(),
    ),
    field(
        Section::Keyspace,
        "dbN",
        Kind::Lines,
        "Each database with keys: number of keys, keys with a TTL, and their mean TTL in \
         milliseconds, estimated from a sample.",
        |view| {
            let dbs = view.data.dbs().filter(|(_, db)| !db.is_empty());
            let line = |(number, db): (u32, &Db)| {
                let (keys, expires) = (db.len(), db.len_with_expiry());
                let ttl = average_ttl_ms(view.data.now_ms, db);
                (format!("db{number}"), format!("keys={keys},expires={expires},avg_ttl={ttl}"))
            };
            Value::Lines(dbs.map(line).collect())
        },
    ),
];

fn command_lines(view: &View<'_>) -> Value {
    let stats = &view.core.stats;
    let names = view.command_names.iter().enumerate();
    let used = names.map(|(number, name)| (name, stats.of(number)));
    let line = |(name, stats): (&&'static str, crate::stats::CommandStats)| {
        let parts = format!(
            "calls={},usec={},usec_per_call={},rejected_calls={},failed_calls={}",
            stats.calls,
            stats.total_us,
            ratio(stats.total_us, stats.calls),
            stats.rejected,
            stats.failed
        );
        (format!("cmdstat_{name}"), parts)
    };
    Value::Lines(used.filter(|(_, s)| s.calls + s.rejected + s.failed > 0).map(line).collect())
}

/// Escapes characters in a name that would break the line.
fn safe(name: &str) -> String {
    name.chars().map(|c| if matches!(c, '#' | ':' | '\n' | '\r') { '_' } else { c }).collect()
}

/// Estimates the mean TTL from sampled keys.
fn average_ttl_ms(now_ms: i64, db: &Db) -> i64 {
    let expiring = db.len_with_expiry();
    if expiring == 0 {
        return 0;
    }
    // A separate generator: INFO does not advance the node's.
    let mut draws = crate::rng::Rng::new([now_ms as u64, expiring as u64, 1, 1]);
    let (mut sum, mut count) = (0_i128, 0_i128);
    for _ in 0..TTL_SAMPLES {
        let drawn = db.table().random_with_expiry(&mut || draws.draw());
        let Some(at) = drawn.and_then(|entry| entry.expiry()) else { break };
        sum += i128::from(at.saturating_sub(now_ms).max(0));
        count += 1;
    }
    i64::try_from(sum / count.max(1)).unwrap_or(i64::MAX)
}

/// Russet's own metrics.
pub(super) const RUSSET: &[Field] = &[
    russet("turns_total", Kind::Counter, "Turns of the engine.", |view| {
        view.core.stats.turns.total.into()
    }),
    russet("turns_over_1ms", Kind::Counter, "Turns that took longer than a millisecond.", |view| {
        view.core.stats.turns.over_1ms.into()
    }),
    russet(
        "turns_over_5ms",
        Kind::Counter,
        "Turns that took longer than five milliseconds.",
        |view| view.core.stats.turns.over_5ms.into(),
    ),
    russet("turn_max_usec", Kind::Gauge, "The longest turn in microseconds.", |view| {
        view.core.stats.turns.longest_us.into()
    }),
    russet("clients_ready", Kind::Gauge, "Connections with pending requests.", |view| {
        view.parts.clients.ready_len().into()
    }),
    russet(
        "snapshots_running",
        Kind::Gauge,
        "Running snapshots: saves and full synchronizations.",
        |view| view.parts.saves.snapshots.len().into(),
    ),
    russet(
        "snapshotN",
        Kind::Lines,
        "Each running snapshot: job, purpose, keys at its start, keys copied, copied bytes \
         that are not encoded yet.",
        |view| {
            let line = |(index, s): (usize, &crate::persist::snapshot::Snapshot)| {
                let purpose = format!("{:?}", s.purpose).to_lowercase();
                let parts = format!(
                    "job={},purpose={purpose},keys={},keys_done={},bytes_ahead={}",
                    s.job.0,
                    s.keys,
                    s.keys_done,
                    s.ahead_bytes()
                );
                (format!("snapshot{index}"), parts)
            };
            Value::Lines(view.parts.saves.snapshots.iter().enumerate().map(line).collect())
        },
    ),
    russet("keyspace_bytes", Kind::Bytes, "Memory of hash tables and entries.", |view| {
        view.dataset_bytes().into()
    }),
    russet("watched_keys", Kind::Gauge, "Watched keys.", |view| view.data.watch.len().into()),
];

const fn russet(
    name: &'static str,
    kind: Kind,
    description: &'static str,
    read: fn(&View<'_>) -> Value,
) -> Field {
    field(Section::Russet, name, kind, description, read)
}
