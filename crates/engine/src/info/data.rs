//! The sections `persistence` and `stats`.

use super::{Field, Kind, Section, Value, View, always, field, percent};
use crate::clients::subscriptions::Kind as Topic;
use crate::persist::progress::Progress;
use crate::persist::snapshot::{Purpose, Snapshot};

use Kind::{Bytes, Counter, Flag, Gauge, Ratio, Seconds, Text};
use Section::{Persistence, Stats};

/// The rows before those of the append-only file, in Redis' order.
pub(super) const SAVES: &[Field] = &[
    field(
        Persistence,
        "loading",
        Flag,
        "Whether a dump file is being loaded; most commands are refused meanwhile.",
        |view| view.parts.loading.is_loading().into(),
    ),
    field(
        Persistence,
        "async_loading",
        Flag,
        "Replica: whether a full synchronization is being loaded while the old data is served.",
        |view| {
            let master = view.parts.following.master();
            master.is_some_and(|link| link.is_loading()).into()
        },
    ),
    field(
        Persistence,
        "current_cow_peak",
        Bytes,
        "Peak of `current_cow_size` of the running snapshots.",
        |view| view.parts.saves.snapshots.iter().map(|s| s.ahead_peak).sum::<u64>().into(),
    ),
    field(
        Persistence,
        "current_cow_size",
        Bytes,
        "Bytes copied by running snapshots and not encoded yet.",
        |view| view.parts.saves.snapshots.iter().map(|s| s.ahead_bytes()).sum::<u64>().into(),
    ),
    always(
        Persistence,
        "current_cow_size_age",
        Seconds,
        "Age of `current_cow_size`: it is always current.",
        "0",
    ),
    field(
        Persistence,
        "current_fork_perc",
        Ratio,
        "Progress of the running save in percent. Nothing is forked.",
        |view| {
            let (done, keys) = progress(view);
            percent(done, keys).into()
        },
    ),
    field(
        Persistence,
        "current_save_keys_processed",
        Gauge,
        "Keys of the running save that were encoded and written.",
        |view| progress(view).0.into(),
    ),
    field(
        Persistence,
        "current_save_keys_total",
        Gauge,
        "Keys at the start of the running save.",
        |view| progress(view).1.into(),
    ),
    field(
        Persistence,
        "rdb_changes_since_last_save",
        Gauge,
        "Changes since the last save.",
        |view| view.parts.saves.unsaved_changes(view.data).into(),
    ),
    field(
        Persistence,
        "rdb_bgsave_in_progress",
        Flag,
        "Whether a snapshot is running, for the dump file or for replicas.",
        |view| rdb_snapshots(view).next().is_some().into(),
    ),
    field(
        Persistence,
        "rdb_last_save_time",
        Seconds,
        "Unix time of the last successful save.",
        |view| view.parts.saves.last_secs.into(),
    ),
    field(
        Persistence,
        "rdb_last_bgsave_status",
        Text,
        "Result of the last save: `ok` or `err`.",
        |view| {
            if view.parts.saves.last_failed { "err".into() } else { "ok".into() }
        },
    ),
    field(
        Persistence,
        "rdb_last_bgsave_time_sec",
        Seconds,
        "Duration of the last save; -1 if there was none.",
        |view| view.parts.saves.last_took_secs.map_or(-1, |secs| secs as i64).into(),
    ),
    field(
        Persistence,
        "rdb_current_bgsave_time_sec",
        Seconds,
        "Elapsed time of the running save; -1 if none is running.",
        |view| {
            let began = rdb_snapshots(view).next().map(|s| s.began_us);
            let secs = |began| (view.core.now.mono_us.saturating_sub(began) / 1_000_000) as i64;
            began.map_or(-1, secs).into()
        },
    ),
    field(Persistence, "rdb_saves", Counter, "Successful saves.", |view| {
        view.parts.saves.count.into()
    }),
    field(
        Persistence,
        "rdb_last_cow_size",
        Bytes,
        "Peak of `current_cow_size` of the last save.",
        |view| view.parts.saves.last_ahead_peak.into(),
    ),
    field(
        Persistence,
        "rdb_last_load_keys_expired",
        Counter,
        "Expired keys skipped during the last load.",
        |view| view.core.stats.last_load_expired.into(),
    ),
    field(
        Persistence,
        "rdb_last_load_keys_loaded",
        Counter,
        "Keys loaded during the last load.",
        |view| view.core.stats.last_load_keys.into(),
    ),
];

/// The rows behind them.
pub(super) const FIELDS: &[Field] = &[
    field(
        Persistence,
        "loading_start_time",
        Seconds,
        "While loading: Unix time of the start.",
        |view| loading(view, |load| load.began_secs.into()),
    ),
    field(Persistence, "loading_total_bytes", Bytes, "While loading: size of the file.", |view| {
        loading(view, |load| load.total_bytes.into())
    }),
    field(
        Persistence,
        "loading_rdb_used_mem",
        Bytes,
        "While loading: memory that the data used in the server that wrote the file; 0 if the file does not say.",
        |view| loading(view, |load| load.used_mem.into()),
    ),
    field(Persistence, "loading_loaded_bytes", Bytes, "While loading: bytes read.", |view| {
        loading(view, |load| load.loaded_bytes.into())
    }),
    field(
        Persistence,
        "loading_loaded_perc",
        Ratio,
        "While loading: progress in percent.",
        |view| loading(view, |load| format!("{:.2}", load.percent()).into()),
    ),
    field(
        Persistence,
        "loading_eta_seconds",
        Seconds,
        "While loading: estimated time left.",
        |view| loading(view, |load| load.eta_secs(view.core.now.mono_us).into()),
    ),
    field(
        Stats,
        "total_connections_received",
        Counter,
        "Connections accepted or rejected.",
        |view| view.core.stats.connections_received.into(),
    ),
    field(Stats, "total_commands_processed", Counter, "Executed commands.", |view| {
        view.core.stats.commands.into()
    }),
    field(Stats, "instantaneous_ops_per_sec", Gauge, "Commands per second.", |view| {
        view.core.stats.commands_rate.per_second().into()
    }),
    field(
        Stats,
        "total_net_input_bytes",
        Counter,
        "Bytes read from all connections, including the master's.",
        |view| (view.core.stats.bytes_in + view.core.stats.repl_bytes_in).into(),
    ),
    field(
        Stats,
        "total_net_output_bytes",
        Counter,
        "Bytes written to all connections, including replicas.",
        |view| (view.core.stats.bytes_out + view.core.stats.repl_bytes_out).into(),
    ),
    field(Stats, "total_net_repl_input_bytes", Counter, "Bytes read from the master.", |view| {
        view.core.stats.repl_bytes_in.into()
    }),
    field(Stats, "total_net_repl_output_bytes", Counter, "Bytes written to replicas.", |view| {
        view.core.stats.repl_bytes_out.into()
    }),
    field(Stats, "instantaneous_input_kbps", Ratio, "KiB read per second.", |view| {
        kib(view.core.stats.in_rate.per_second())
    }),
    field(Stats, "instantaneous_output_kbps", Ratio, "KiB written per second.", |view| {
        kib(view.core.stats.out_rate.per_second())
    }),
    field(
        Stats,
        "instantaneous_input_repl_kbps",
        Ratio,
        "KiB read from the master per second.",
        |view| kib(view.core.stats.repl_in_rate.per_second()),
    ),
    field(
        Stats,
        "instantaneous_output_repl_kbps",
        Ratio,
        "KiB written to replicas per second.",
        |view| kib(view.core.stats.repl_out_rate.per_second()),
    ),
    field(Stats, "rejected_connections", Counter, "Rejected connections.", |view| {
        view.core.stats.connections_rejected.into()
    }),
    field(Stats, "sync_full", Counter, "Full synchronizations with replicas.", |view| {
        view.parts.master.stats.full.into()
    }),
    field(Stats, "sync_partial_ok", Counter, "Accepted partial synchronizations.", |view| {
        view.parts.master.stats.partial_ok.into()
    }),
    field(
        Stats,
        "sync_partial_err",
        Counter,
        "Requested partial synchronizations that became full ones.",
        |view| view.parts.master.stats.partial_err.into(),
    ),
    field(
        Stats,
        "expired_subkeys",
        Counter,
        "Expired fields of hashes. A field of Redis 7.4.",
        |view| view.data.stats.expired_elements.into(),
    ),
    field(Stats, "expired_keys", Counter, "Expired keys.", |view| {
        view.data.stats.expired_keys.into()
    }),
    field(
        Stats,
        "expired_time_cap_reached_count",
        Counter,
        "Active expiry cycles that ran out of time.",
        |view| view.data.stats.expired_time_cap_reached.into(),
    ),
    field(
        Stats,
        "expire_cycle_cpu_milliseconds",
        Counter,
        "Milliseconds spent on active expiry.",
        |view| (view.core.stats.expire_us / 1000).into(),
    ),
    always(Stats, "evicted_keys", Counter, "Keys evicted because of `maxmemory`.", "0"),
    always(
        Stats,
        "evicted_clients",
        Counter,
        "Clients closed because of `maxmemory-clients`.",
        "0",
    ),
    always(
        Stats,
        "total_eviction_exceeded_time",
        Counter,
        "Total milliseconds above `maxmemory`.",
        "0",
    ),
    always(
        Stats,
        "current_eviction_exceeded_time",
        Gauge,
        "Milliseconds since memory exceeded `maxmemory`.",
        "0",
    ),
    field(Stats, "keyspace_hits", Counter, "Successful key lookups.", |view| {
        view.data.stats.hits.into()
    }),
    field(Stats, "keyspace_misses", Counter, "Failed key lookups.", |view| {
        view.data.stats.misses.into()
    }),
    field(Stats, "pubsub_channels", Gauge, "Channels with subscribers.", |view| {
        view.parts.pubsub.names(Topic::Channel).len().into()
    }),
    field(Stats, "pubsub_patterns", Gauge, "Patterns with subscribers.", |view| {
        view.parts.pubsub.names(Topic::Pattern).len().into()
    }),
    field(Stats, "pubsubshard_channels", Gauge, "Shard channels with subscribers.", |view| {
        view.parts.pubsub.names(Topic::Shard).len().into()
    }),
    always(Stats, "latest_fork_usec", Gauge, "Duration of the last fork: nothing is forked.", "0"),
    always(Stats, "total_forks", Counter, "Forks.", "0"),
    field(Stats, "migrate_cached_sockets", Gauge, "Connections cached by MIGRATE.", |view| {
        view.parts.migrate.sockets_len().into()
    }),
    field(
        Stats,
        "slave_expires_tracked_keys",
        Gauge,
        "Keys with a TTL that were written on a writable replica.",
        |view| view.data.own_expiries.count().into(),
    ),
    always(Stats, "active_defrag_hits", Counter, "Values moved by defragmentation.", "0"),
    always(Stats, "active_defrag_misses", Counter, "Values not moved by defragmentation.", "0"),
    always(
        Stats,
        "active_defrag_key_hits",
        Counter,
        "Keys with values moved by defragmentation.",
        "0",
    ),
    always(Stats, "active_defrag_key_misses", Counter, "Keys without values moved.", "0"),
    always(
        Stats,
        "total_active_defrag_time",
        Counter,
        "Total milliseconds of defragmentation.",
        "0",
    ),
    always(
        Stats,
        "current_active_defrag_time",
        Gauge,
        "Milliseconds since defragmentation started.",
        "0",
    ),
    always(Stats, "tracking_total_keys", Gauge, "Keys tracked for client-side caching.", "0"),
    always(Stats, "tracking_total_items", Gauge, "Clients tracked for those keys.", "0"),
    always(Stats, "tracking_total_prefixes", Gauge, "Prefixes tracked in broadcasting mode.", "0"),
    field(
        Stats,
        "unexpected_error_replies",
        Counter,
        "Unexpected errors of commands from the master.",
        |view| view.core.stats.unexpected_errors.into(),
    ),
    field(Stats, "total_error_replies", Counter, "Error replies.", |view| {
        view.core.stats.error_replies.into()
    }),
    field(
        Stats,
        "dump_payload_sanitizations",
        Counter,
        "Payloads of RESTORE that were validated; each is, whatever `sanitize-dump-payload` says.",
        |view| view.core.stats.dump_payload_sanitizations.into(),
    ),
    field(Stats, "total_reads_processed", Counter, "Reads from sockets.", |view| {
        view.core.stats.reads.into()
    }),
    field(Stats, "total_writes_processed", Counter, "Writes to sockets.", |view| {
        view.core.stats.writes.into()
    }),
    always(Stats, "io_threaded_reads_processed", Counter, "Reads by I/O threads.", "0"),
    always(Stats, "io_threaded_writes_processed", Counter, "Writes by I/O threads.", "0"),
    field(
        Stats,
        "client_query_buffer_limit_disconnections",
        Counter,
        "Clients closed because of `client-query-buffer-limit` (Valkey only).",
        |view| view.core.stats.query_buffer_limit_disconnections.into(),
    ),
    field(
        Stats,
        "client_output_buffer_limit_disconnections",
        Counter,
        "Clients closed because of `client-output-buffer-limit` (Valkey only).",
        |view| view.core.stats.output_limit_disconnections.into(),
    ),
    field(Stats, "eventloop_cycles", Counter, "Cycles of the event loop.", |view| {
        view.core.stats.turns.total.into()
    }),
    field(Stats, "eventloop_duration_sum", Counter, "Total microseconds of all cycles.", |view| {
        view.core.stats.turns.total_us.into()
    }),
    field(
        Stats,
        "eventloop_duration_cmd_sum",
        Counter,
        "Total microseconds of commands in those cycles.",
        |view| view.core.stats.commands_us().into(),
    ),
    field(Stats, "instantaneous_eventloop_cycles_per_sec", Gauge, "Cycles per second.", |view| {
        view.core.stats.turns_rate.per_second().into()
    }),
    field(
        Stats,
        "instantaneous_eventloop_duration_usec",
        Gauge,
        "Mean microseconds per cycle.",
        |view| {
            let stats = &view.core.stats;
            let turns = stats.turns_rate.per_second();
            stats.turns_us_rate.per_second().checked_div(turns).unwrap_or(0).into()
        },
    ),
    field(Stats, "acl_access_denied_auth", Counter, "Failed authentications.", |view| {
        view.core.stats.auth_failures.into()
    }),
    always(Stats, "acl_access_denied_cmd", Counter, "Commands denied by ACL rules.", "0"),
    always(Stats, "acl_access_denied_key", Counter, "Key accesses denied by ACL rules.", "0"),
    always(
        Stats,
        "acl_access_denied_channel",
        Counter,
        "Channel accesses denied by ACL rules.",
        "0",
    ),
];

/// Iterates over the running snapshots except the base of the append-only file, which has fields of its own.
fn rdb_snapshots<'v>(view: &'v View<'_>) -> impl Iterator<Item = &'v Snapshot> {
    view.parts.saves.snapshots.iter().filter(|s| !matches!(s.purpose, Purpose::AofBase(_)))
}

/// Returns the encoded and the total number of keys of the oldest running snapshot.
fn progress(view: &View<'_>) -> (u64, u64) {
    let first = view.parts.saves.snapshots.iter().next();
    first.map_or((0, 0), |s| (s.keys_done as u64, s.keys as u64))
}

/// Reads the progress of the running load, that of a full synchronization too.
fn loading(view: &View<'_>, read: impl FnOnce(&Progress) -> Value) -> Value {
    let payload = || view.parts.following.master().and_then(|link| link.load_progress());
    view.parts.loading.progress().or_else(payload).map_or(Value::Absent, read)
}

/// Formats bytes as KiB with two decimals.
fn kib(bytes: u64) -> Value {
    format!("{:.2}", bytes as f64 / 1024.0).into()
}
