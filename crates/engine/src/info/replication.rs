//! The section `replication`.

use super::{Field, Kind, Section, Value, View, field, percent};
use crate::repl::link::MasterLink;
use crate::repl::master::Replica;

const fn row(
    name: &'static str,
    kind: Kind,
    description: &'static str,
    read: fn(&View<'_>) -> Value,
) -> Field {
    field(Section::Replication, name, kind, description, read)
}

/// The rows, in Redis' order.
pub(super) const FIELDS: &[Field] = &[
    row("role", Kind::Text, "`master` or `slave`.", |view| {
        if view.core.is_replica { "slave".into() } else { "master".into() }
    }),
    row("master_host", Kind::Text, "Replica: address of the master.", |view| {
        master(view, |link| link.host.as_str().into())
    }),
    row("master_port", Kind::Gauge, "Replica: port of the master.", |view| {
        master(view, |link| link.port.into())
    }),
    row(
        "master_link_status",
        Kind::Text,
        "Replica: `up` while connected and synchronized, else `down`.",
        |view| master(view, |link| if link.is_online() { "up".into() } else { "down".into() }),
    ),
    row(
        "master_last_io_seconds_ago",
        Kind::Seconds,
        "Replica: seconds since the last data from the master; -1 while the link is down.",
        |view| {
            let ago = |link: &MasterLink| match link.is_online() {
                true => seconds_since(view, link.last_io_us),
                false => -1,
            };
            master(view, |link| ago(link).into())
        },
    ),
    row(
        "master_sync_in_progress",
        Kind::Flag,
        "Replica: whether a full synchronization is running.",
        |view| master(view, |link| link.sync_progress().is_some().into()),
    ),
    row(
        "slave_read_repl_offset",
        Kind::Counter,
        "Replica: replication offset received from the master.",
        |view| {
            master(view, |link| {
                let arrived = link.link.and_then(|link| view.parts.clients.get(link));
                let waiting = arrived.filter(|_| link.is_online()).map_or(0, |c| c.wire.pending());
                let partial = link.partial_len();
                offset(view, link).saturating_add((waiting + partial) as i64).into()
            })
        },
    ),
    row("slave_repl_offset", Kind::Counter, "Replica: replication offset applied.", |view| {
        master(view, |link| offset(view, link).into())
    }),
    row(
        "master_sync_total_bytes",
        Kind::Bytes,
        "While synchronizing: total bytes; 0 if unknown (diskless).",
        |view| syncing(view, |total, _| total.into()),
    ),
    row("master_sync_read_bytes", Kind::Bytes, "While synchronizing: bytes received.", |view| {
        syncing(view, |_, read| read.into())
    }),
    row("master_sync_left_bytes", Kind::Bytes, "While synchronizing: bytes left.", |view| {
        syncing(view, |total, read| super::difference(total, read).into())
    }),
    row("master_sync_perc", Kind::Ratio, "While synchronizing: progress in percent.", |view| {
        syncing(view, |total, read| percent(if total > 0 { read } else { 0 }, total).into())
    }),
    row(
        "master_sync_last_io_seconds_ago",
        Kind::Seconds,
        "While synchronizing: seconds since the last data.",
        |view| {
            let Some(link) = view.parts.following.master() else { return Value::Absent };
            syncing(view, |_, _| seconds_since(view, link.last_io_us).into())
        },
    ),
    row(
        "master_link_down_since_seconds",
        Kind::Seconds,
        "Replica: seconds since the link went down.",
        |view| {
            master(view, |link| match link.is_online() {
                true => Value::Absent,
                false => seconds_since(view, link.down_since_us).into(),
            })
        },
    ),
    row(
        "slave_priority",
        Kind::Gauge,
        "Replica: `replica-priority` for Sentinel; the lowest is promoted first, 0 never.",
        |view| master(view, |_| view.core.config.replica_priority.into()),
    ),
    row("slave_read_only", Kind::Flag, "Replica: `replica-read-only`.", |view| {
        master(view, |_| view.core.config.replica_read_only.into())
    }),
    row(
        "replica_announced",
        Kind::Flag,
        "Replica: `replica-announced`: whether Sentinels list it.",
        |view| master(view, |_| view.core.config.replica_announced.into()),
    ),
    row("connected_slaves", Kind::Gauge, "Connected replicas.", |view| {
        view.parts.master.replicas().len().into()
    }),
    row(
        "min_slaves_good_slaves",
        Kind::Gauge,
        "If `min-replicas-to-write` is set: replicas within the maximum lag.",
        |view| {
            let config = &view.core.config;
            let set = config.min_replicas_to_write > 0 && config.min_replicas_max_lag > 0;
            set.then(|| view.parts.master.good_replicas(view.core)).into()
        },
    ),
    row(
        "slaveN",
        Kind::Lines,
        "Each replica: address and port, state (`wait_bgsave`, `send_bulk`, `online`), \
         acknowledged offset, and seconds since the acknowledgement.",
        replica_lines,
    ),
    row(
        "master_failover_state",
        Kind::Text,
        "State of a FAILOVER command: `no-failover`, `waiting-for-sync` or `failover-in-progress`.",
        |view| view.parts.failover.state_name().into(),
    ),
    row("master_replid", Kind::Text, "Replication id of the data set.", |view| {
        view.parts.master.stream.ids.id.as_str().into()
    }),
    row("master_replid2", Kind::Text, "Previous replication id; zeros if there is none.", |view| {
        view.parts.master.stream.ids.id2.as_str().into()
    }),
    row("master_repl_offset", Kind::Counter, "Replication offset.", |view| {
        view.parts.master.stream.offset().into()
    }),
    row(
        "second_repl_offset",
        Kind::Gauge,
        "Offset up to which the previous replication id is valid; -1 without one.",
        |view| view.parts.master.stream.ids.second_offset.into(),
    ),
    row("repl_backlog_active", Kind::Flag, "Whether the replication backlog is active.", |view| {
        view.parts.master.stream.backlog.is_some().into()
    }),
    row("repl_backlog_size", Kind::Bytes, "`repl-backlog-size`: size of the backlog.", |view| {
        view.core.config.repl_backlog_size.into()
    }),
    row("repl_backlog_first_byte_offset", Kind::Gauge, "First offset in the backlog.", |view| {
        view.parts.master.stream.backlog.as_ref().map_or(0, |backlog| backlog.first_offset()).into()
    }),
    row("repl_backlog_histlen", Kind::Bytes, "Bytes in the backlog.", |view| {
        view.backlog_bytes().into()
    }),
];

/// Reads a value of the link to the master; absent on a master.
fn master(view: &View<'_>, read: impl FnOnce(&MasterLink) -> Value) -> Value {
    view.parts.following.master().map_or(Value::Absent, read)
}

/// Reads a value from the total and received bytes of a running full synchronization.
fn syncing(view: &View<'_>, read: impl FnOnce(u64, u64) -> Value) -> Value {
    master(view, |link| {
        link.sync_progress().map_or(Value::Absent, |(total, done)| read(total, done))
    })
}

/// Returns the replica's offset; 1 before the first synchronization, as in Redis.
fn offset(view: &View<'_>, link: &MasterLink) -> i64 {
    if link.is_online() || link.has_history() { view.parts.master.stream.offset() } else { 1 }
}

fn seconds_since(view: &View<'_>, then_us: u64) -> i64 {
    (view.core.now.mono_us.saturating_sub(then_us) / 1_000_000) as i64
}

fn replica_lines(view: &View<'_>) -> Value {
    let line = |(index, replica): (usize, &Replica)| {
        let (ip, port) = replica.address();
        let (stage, lag) = (replica.stage_name(), replica.lag_secs(view.core.now.mono_us));
        let offset = replica.acked_offset();
        let parts = format!("ip={ip},port={port},state={stage},offset={offset},lag={lag}");
        (format!("slave{index}"), parts)
    };
    Value::Lines(view.parts.master.replicas().iter().enumerate().map(line).collect())
}
