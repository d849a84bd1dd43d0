//! The sections `persistence` and `stats`: what was saved and loaded, and what was counted.

use super::{Field, Kind, Section, Value, View, always, field, percent};
use crate::clients::subscriptions::Kind as Topic;
use crate::persist::loading::Load;

use Kind::{Bytes, Counter, Flag, Gauge, Ratio, Seconds, Text};
use Section::{Persistence, Stats};

/// The rows, in Redis' order.
pub(super) const FIELDS: &[Field] = &[
    field(
        Persistence,
        "loading",
        Flag,
        "A file is being loaded and commands are refused meanwhile.",
        |view| view.parts.loading.is_loading().into(),
    ),
    field(
        Persistence,
        "async_loading",
        Flag,
        "Replica: a full synchronisation is being loaded beside the data that is served.",
        |view| {
            let master = view.parts.following.master();
            master.is_some_and(|link| link.is_loading()).into()
        },
    ),
    field(
        Persistence,
        "current_cow_peak",
        Bytes,
        "Most bytes that the running snapshots had copied and not yet encoded.",
        |view| view.parts.saves.snapshots.iter().map(|s| s.ahead_peak).sum::<u64>().into(),
    ),
    field(Persistence, "current_cow_size", Bytes, "Bytes that they have now.", |view| {
        view.parts.saves.snapshots.iter().map(|s| s.ahead_bytes()).sum::<u64>().into()
    }),
    always(
        Persistence,
        "current_cow_size_age",
        Seconds,
        "Age of that figure: it is always fresh.",
        "0",
    ),
    field(
        Persistence,
        "current_fork_perc",
        Ratio,
        "How much of the running save is done, in percent. Nothing is forked.",
        |view| {
            let (done, keys) = progress(view);
            percent(done, keys).into()
        },
    ),
    field(Persistence, "current_save_keys_processed", Gauge, "Keys that it has copied.", |view| {
        progress(view).0.into()
    }),
    field(Persistence, "current_save_keys_total", Gauge, "Keys at its start.", |view| {
        progress(view).1.into()
    }),
    field(
        Persistence,
        "rdb_changes_since_last_save",
        Gauge,
        "Changes that are not in the dump file.",
        |view| view.parts.saves.unsaved_changes(view.data).into(),
    ),
    field(
        Persistence,
        "rdb_bgsave_in_progress",
        Flag,
        "A snapshot is under way: to the dump file or to replicas.",
        |view| (!view.parts.saves.snapshots.is_empty()).into(),
    ),
    field(Persistence, "rdb_last_save_time", Seconds, "When the last good save ended.", |view| {
        view.parts.saves.last_secs.into()
    }),
    field(Persistence, "rdb_last_bgsave_status", Text, "`ok` or `err`.", |view| {
        if view.parts.saves.last_failed { "err".into() } else { "ok".into() }
    }),
    field(
        Persistence,
        "rdb_last_bgsave_time_sec",
        Seconds,
        "How long the last save took; -1 before there was one.",
        |view| view.parts.saves.last_took_secs.map_or(-1, |secs| secs as i64).into(),
    ),
    field(
        Persistence,
        "rdb_current_bgsave_time_sec",
        Seconds,
        "How long the running one has taken; -1 if none runs.",
        |view| {
            let began = view.parts.saves.snapshots.iter().next().map(|s| s.began_us);
            let secs = |began| (view.core.now.mono_us.saturating_sub(began) / 1_000_000) as i64;
            began.map_or(-1, secs).into()
        },
    ),
    field(Persistence, "rdb_saves", Counter, "Saves that ended well.", |view| {
        view.parts.saves.count.into()
    }),
    field(
        Persistence,
        "rdb_last_cow_size",
        Bytes,
        "Most bytes that the last save had copied and not yet encoded.",
        |view| view.parts.saves.last_ahead_peak.into(),
    ),
    field(
        Persistence,
        "rdb_last_load_keys_expired",
        Counter,
        "Keys of the loaded file that were past their time.",
        |view| view.parts.loading.keys_expired.into(),
    ),
    field(Persistence, "rdb_last_load_keys_loaded", Counter, "Keys that it gave.", |view| {
        view.parts.loading.keys_loaded.into()
    }),
    always(Persistence, "aof_enabled", Flag, "An append-only file is kept.", "0"),
    always(Persistence, "aof_rewrite_in_progress", Flag, "It is being rewritten.", "0"),
    always(Persistence, "aof_rewrite_scheduled", Flag, "A rewrite waits for its turn.", "0"),
    always(
        Persistence,
        "aof_last_rewrite_time_sec",
        Seconds,
        "How long the last rewrite took.",
        "-1",
    ),
    always(
        Persistence,
        "aof_current_rewrite_time_sec",
        Seconds,
        "How long the running one has taken.",
        "-1",
    ),
    always(Persistence, "aof_last_bgrewrite_status", Text, "How the last rewrite ended.", "ok"),
    always(Persistence, "aof_rewrites", Counter, "Rewrites.", "0"),
    always(
        Persistence,
        "aof_rewrites_consecutive_failures",
        Counter,
        "Rewrites that failed in a row.",
        "0",
    ),
    always(Persistence, "aof_last_write_status", Text, "How the last write to it ended.", "ok"),
    always(Persistence, "aof_last_cow_size", Bytes, "Copies during the last rewrite.", "0"),
    always(Persistence, "module_fork_in_progress", Flag, "A module has forked.", "0"),
    always(Persistence, "module_fork_last_cow_size", Bytes, "Copies during its fork.", "0"),
    field(Persistence, "loading_start_time", Seconds, "While loading: since when.", |view| {
        loading(view, |load| load.began_secs.into())
    }),
    field(
        Persistence,
        "loading_total_bytes",
        Bytes,
        "While loading: length of the file.",
        |view| loading(view, |load| load.total_bytes.into()),
    ),
    field(Persistence, "loading_loaded_bytes", Bytes, "While loading: bytes read.", |view| {
        loading(view, |load| load.loaded_bytes.into())
    }),
    field(
        Persistence,
        "loading_loaded_perc",
        Ratio,
        "While loading: the same in percent.",
        |view| loading(view, |load| percent(load.loaded_bytes, load.total_bytes).into()),
    ),
    field(
        Persistence,
        "loading_eta_seconds",
        Seconds,
        "While loading: how long it will take if it goes on so.",
        |view| loading(view, |load| eta_secs(view, load).into()),
    ),
    field(Stats, "total_connections_received", Counter, "Connections taken or refused.", |view| {
        view.core.stats.connections_received.into()
    }),
    field(Stats, "total_commands_processed", Counter, "Commands that ran.", |view| {
        view.core.stats.commands.into()
    }),
    field(Stats, "instantaneous_ops_per_sec", Gauge, "Commands a second, lately.", |view| {
        view.core.stats.commands_rate.per_second().into()
    }),
    field(
        Stats,
        "total_net_input_bytes",
        Counter,
        "Bytes read from connections, the master's included.",
        |view| (view.core.stats.bytes_in + view.core.stats.repl_bytes_in).into(),
    ),
    field(
        Stats,
        "total_net_output_bytes",
        Counter,
        "Bytes written to connections, replicas included.",
        |view| (view.core.stats.bytes_out + view.core.stats.repl_bytes_out).into(),
    ),
    field(Stats, "total_net_repl_input_bytes", Counter, "Bytes read from the master.", |view| {
        view.core.stats.repl_bytes_in.into()
    }),
    field(Stats, "total_net_repl_output_bytes", Counter, "Bytes written to replicas.", |view| {
        view.core.stats.repl_bytes_out.into()
    }),
    field(Stats, "instantaneous_input_kbps", Ratio, "KiB read a second, lately.", |view| {
        kib(view.core.stats.in_rate.per_second())
    }),
    field(Stats, "instantaneous_output_kbps", Ratio, "KiB written a second, lately.", |view| {
        kib(view.core.stats.out_rate.per_second())
    }),
    field(
        Stats,
        "instantaneous_input_repl_kbps",
        Ratio,
        "KiB read from the master a second, lately.",
        |view| kib(view.core.stats.repl_in_rate.per_second()),
    ),
    field(
        Stats,
        "instantaneous_output_repl_kbps",
        Ratio,
        "KiB written to replicas a second, lately.",
        |view| kib(view.core.stats.repl_out_rate.per_second()),
    ),
    field(Stats, "rejected_connections", Counter, "Connections refused.", |view| {
        view.core.stats.connections_rejected.into()
    }),
    field(Stats, "sync_full", Counter, "Full synchronisations given to replicas.", |view| {
        view.parts.master.stats.full.into()
    }),
    field(Stats, "sync_partial_ok", Counter, "Partial ones given.", |view| {
        view.parts.master.stats.partial_ok.into()
    }),
    field(
        Stats,
        "sync_partial_err",
        Counter,
        "Partial ones asked for that had to become full.",
        |view| view.parts.master.stats.partial_err.into(),
    ),
    field(Stats, "expired_keys", Counter, "Keys removed because their time had come.", |view| {
        view.data.stats.expired_keys.into()
    }),
    field(
        Stats,
        "expired_time_cap_reached_count",
        Counter,
        "Slices of active expiry that ended before the due keys did.",
        |view| view.data.stats.expired_time_cap_reached.into(),
    ),
    field(
        Stats,
        "expire_cycle_cpu_milliseconds",
        Counter,
        "Time that active expiry took.",
        |view| (view.core.stats.expire_us / 1000).into(),
    ),
    always(Stats, "evicted_keys", Counter, "Keys removed for want of memory.", "0"),
    always(Stats, "evicted_clients", Counter, "Clients closed for want of memory.", "0"),
    always(
        Stats,
        "total_eviction_exceeded_time",
        Counter,
        "Milliseconds over `maxmemory`, all told.",
        "0",
    ),
    always(
        Stats,
        "current_eviction_exceeded_time",
        Gauge,
        "Milliseconds over it since it was last kept.",
        "0",
    ),
    field(Stats, "keyspace_hits", Counter, "Reads that found their key.", |view| {
        view.data.stats.hits.into()
    }),
    field(Stats, "keyspace_misses", Counter, "Reads that did not.", |view| {
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
    always(Stats, "latest_fork_usec", Gauge, "Nothing is ever forked.", "0"),
    always(Stats, "total_forks", Counter, "Likewise.", "0"),
    always(Stats, "migrate_cached_sockets", Gauge, "Links that MIGRATE keeps open.", "0"),
    always(
        Stats,
        "slave_expires_tracked_keys",
        Gauge,
        "Keys with an expiry that were written on a writable replica and are tracked.",
        "0",
    ),
    always(Stats, "active_defrag_hits", Counter, "Values moved by defragmentation.", "0"),
    always(Stats, "active_defrag_misses", Counter, "Values that it left alone.", "0"),
    always(Stats, "active_defrag_key_hits", Counter, "Keys with values moved.", "0"),
    always(Stats, "active_defrag_key_misses", Counter, "Keys without.", "0"),
    always(
        Stats,
        "total_active_defrag_time",
        Counter,
        "Milliseconds of defragmentation, all told.",
        "0",
    ),
    always(Stats, "current_active_defrag_time", Gauge, "Milliseconds of the running one.", "0"),
    always(Stats, "tracking_total_keys", Gauge, "Keys that CLIENT TRACKING remembers.", "0"),
    always(Stats, "tracking_total_items", Gauge, "Clients that it remembers for them.", "0"),
    always(Stats, "tracking_total_prefixes", Gauge, "Prefixes that it remembers.", "0"),
    field(
        Stats,
        "unexpected_error_replies",
        Counter,
        "Errors of commands from the master, which should have none.",
        |view| view.core.stats.unexpected_errors.into(),
    ),
    field(Stats, "total_error_replies", Counter, "Error replies.", |view| {
        view.core.stats.error_replies.into()
    }),
    always(Stats, "dump_payload_sanitizations", Counter, "Deep checks of RESTORE payloads.", "0"),
    field(
        Stats,
        "total_reads_processed",
        Counter,
        "Reads from sockets that brought bytes.",
        |view| view.core.stats.reads.into(),
    ),
    field(Stats, "total_writes_processed", Counter, "Writes to sockets.", |view| {
        view.core.stats.writes.into()
    }),
    always(Stats, "io_threaded_reads_processed", Counter, "Reads by I/O threads.", "0"),
    always(Stats, "io_threaded_writes_processed", Counter, "Writes by I/O threads.", "0"),
    field(
        Stats,
        "client_query_buffer_limit_disconnections",
        Counter,
        "Clients closed over `client-query-buffer-limit` (a field of Valkey).",
        |view| view.core.stats.query_buffer_limit_disconnections.into(),
    ),
    field(
        Stats,
        "client_output_buffer_limit_disconnections",
        Counter,
        "Clients closed over `client-output-buffer-limit` (a field of Valkey).",
        |view| view.core.stats.output_limit_disconnections.into(),
    ),
    field(Stats, "eventloop_cycles", Counter, "Turns of the engine's loop.", |view| {
        view.core.stats.turns.total.into()
    }),
    field(
        Stats,
        "eventloop_duration_sum",
        Counter,
        "Microseconds that they took, all told.",
        |view| view.core.stats.turns.total_us.into(),
    ),
    field(
        Stats,
        "eventloop_duration_cmd_sum",
        Counter,
        "Microseconds of them that commands took.",
        |view| view.core.stats.commands_us().into(),
    ),
    field(
        Stats,
        "instantaneous_eventloop_cycles_per_sec",
        Gauge,
        "Turns a second, lately.",
        |view| view.core.stats.turns_rate.per_second().into(),
    ),
    field(
        Stats,
        "instantaneous_eventloop_duration_usec",
        Gauge,
        "Microseconds a turn, lately.",
        |view| {
            let stats = &view.core.stats;
            let turns = stats.turns_rate.per_second();
            stats.turns_us_rate.per_second().checked_div(turns).unwrap_or(0).into()
        },
    ),
    field(Stats, "acl_access_denied_auth", Counter, "Wrong names and passwords.", |view| {
        view.core.stats.auth_failures.into()
    }),
    always(Stats, "acl_access_denied_cmd", Counter, "Commands that ACL rules refused.", "0"),
    always(Stats, "acl_access_denied_key", Counter, "Keys that they refused.", "0"),
    always(Stats, "acl_access_denied_channel", Counter, "Channels that they refused.", "0"),
];

/// Keys done and keys in all of the oldest snapshot under way.
fn progress(view: &View<'_>) -> (u64, u64) {
    let first = view.parts.saves.snapshots.iter().next();
    first.map_or((0, 0), |s| (s.keys_done as u64, s.keys as u64))
}

fn loading(view: &View<'_>, read: impl FnOnce(&Load) -> Value) -> Value {
    view.parts.loading.current().map_or(Value::Absent, read)
}

/// Elapsed time, scaled to the bytes that are left.
fn eta_secs(view: &View<'_>, load: &Load) -> i64 {
    let elapsed = u128::try_from(view.core.now.wall_secs() - load.began_secs).unwrap_or(0);
    let left = u128::from(load.total_bytes.saturating_sub(load.loaded_bytes));
    let eta = (elapsed * left).checked_div(u128::from(load.loaded_bytes));
    eta.map_or(1, |secs| i64::try_from(secs).unwrap_or(i64::MAX))
}

/// Bytes a second as KiB with two digits.
fn kib(bytes: u64) -> Value {
    format!("{:.2}", bytes as f64 / 1024.0).into()
}
