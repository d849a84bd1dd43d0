//! The fields of the append-only file in the section `persistence`, and those of modules, which Redis has among them.

use super::{Field, Kind, Section, View, always, field};
use crate::persist::aof::append::AppendLog;
use crate::persist::aof::files::Status;

use Kind::{Bytes, Counter, Flag, Gauge, Seconds, Text};
use Section::Persistence;

/// The rows, in Redis' order. Those from `aof_current_size` on are shown while there is an append-only file.
pub(super) const FIELDS: &[Field] = &[
    field(Persistence, "aof_enabled", Flag, "Whether the append-only file is enabled.", |view| {
        (view.parts.aof.status() != Status::Off).into()
    }),
    field(
        Persistence,
        "aof_rewrite_in_progress",
        Flag,
        "Whether an AOF rewrite is running, or the files that it replaced are being removed.",
        |view| (view.parts.aof.is_rewriting() || view.parts.aof.is_removing_history()).into(),
    ),
    field(
        Persistence,
        "aof_rewrite_scheduled",
        Flag,
        "Whether an AOF rewrite is scheduled.",
        |view| view.parts.aof.rewrites.is_wanted().into(),
    ),
    field(
        Persistence,
        "aof_last_rewrite_time_sec",
        Seconds,
        "Duration of the last AOF rewrite; -1 if there was none.",
        |view| view.parts.aof.rewrites.last_took_secs.map_or(-1, |secs| secs as i64).into(),
    ),
    field(
        Persistence,
        "aof_current_rewrite_time_sec",
        Seconds,
        "Elapsed time of the running AOF rewrite; -1 if none is running.",
        |view| {
            let secs = |began| (view.core.now.mono_us.saturating_sub(began) / 1_000_000) as i64;
            view.parts.aof.rewrite_began_us().map_or(-1, secs).into()
        },
    ),
    field(
        Persistence,
        "aof_last_bgrewrite_status",
        Text,
        "Result of the last AOF rewrite: `ok` or `err`.",
        |view| status(view.parts.aof.rewrites.failures == 0),
    ),
    field(Persistence, "aof_rewrites", Counter, "AOF rewrites that have begun.", |view| {
        view.parts.aof.rewrites.count.into()
    }),
    field(
        Persistence,
        "aof_rewrites_consecutive_failures",
        Counter,
        "AOF rewrites that have failed since the last that has not.",
        |view| u64::from(view.parts.aof.rewrites.failures).into(),
    ),
    field(
        Persistence,
        "aof_last_write_status",
        Text,
        "Whether the last write and sync of the AOF have succeeded: `ok` or `err`.",
        |view| {
            let has_failed =
                |log: &AppendLog| log.write_error.is_some() || log.sync_error.is_some();
            status(!view.parts.aof.log().is_some_and(has_failed))
        },
    ),
    field(
        Persistence,
        "aof_last_cow_size",
        Bytes,
        "Peak of copied and not yet encoded bytes of the last AOF rewrite.",
        |view| view.parts.aof.rewrites.last_ahead_peak.into(),
    ),
    always(Persistence, "module_fork_in_progress", Flag, "Whether a module fork is running.", "0"),
    always(
        Persistence,
        "module_fork_last_cow_size",
        Bytes,
        "Memory copied during the last module fork.",
        "0",
    ),
    field(
        Persistence,
        "aof_current_size",
        Bytes,
        "Size of the files that a start loads.",
        |view| view.parts.aof.shown().map(|aof| aof.size()).into(),
    ),
    field(Persistence, "aof_base_size", Bytes, "Size after the last rewrite or start.", |view| {
        view.parts.aof.shown().map(|aof| aof.rewrites.counted_bytes()).into()
    }),
    field(
        Persistence,
        "aof_pending_rewrite",
        Flag,
        "Whether an AOF rewrite is scheduled.",
        |view| view.parts.aof.shown().map(|aof| u64::from(aof.rewrites.is_wanted())).into(),
    ),
    field(Persistence, "aof_buffer_length", Bytes, "Bytes that are not written yet.", |view| {
        view.parts.aof.shown().map(|aof| aof.log().map_or(0, AppendLog::unwritten_bytes)).into()
    }),
    field(Persistence, "aof_pending_bio_fsync", Gauge, "Syncs that have not ended.", |view| {
        let syncs = |log: &AppendLog| u64::from(log.is_syncing());
        view.parts.aof.shown().map(|aof| aof.log().map_or(0, syncs)).into()
    }),
    field(
        Persistence,
        "aof_delayed_fsync",
        Counter,
        "Syncs of the present file that had to wait for the one before.",
        |view| {
            view.parts.aof.shown().map(|aof| aof.log().map_or(0, |log| log.delayed_syncs)).into()
        },
    ),
    field(
        Persistence,
        "aof_lag_us",
        Gauge,
        "How long the oldest change has waited to be as safe as `appendfsync` promises, in microseconds.",
        |view: &View<'_>| {
            let (aof, now_us) = (&view.parts.aof, view.core.now.mono_us);
            let lag_us = |log: &AppendLog| log.lag_us(aof.policy(), now_us);
            aof.shown().map(|aof| aof.log().map_or(0, lag_us)).into()
        },
    ),
];

fn status(is_ok: bool) -> super::Value {
    if is_ok { "ok".into() } else { "err".into() }
}
