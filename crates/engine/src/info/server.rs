//! The sections `server`, `clients`, `memory`, `cpu` and `modules`: the process, its connections and what it uses.

use super::{
    Field, Kind, Section, Value, View, always, difference, field, human, percent, ratio, seconds_of,
};
use crate::config::value::Supervised;
use crate::io::ProcessFigures;
use crate::timers::Timer;

use Kind::{Bytes, Flag, Gauge, Human, Lines, Ratio, Seconds, Text};
use Section::{Clients, Cpu, Memory, Server};

/// The rows, in Redis' order.
pub(super) const FIELDS: &[Field] = &[
    field(
        Server,
        "redis_version",
        Text,
        "Version of Redis whose replies this server gives.",
        |_| crate::REDIS_VERSION.into(),
    ),
    field(Server, "russet_version", Text, "Russet's own version.", |_| {
        crate::RUSSET_VERSION.into()
    }),
    always(
        Server,
        "redis_git_sha1",
        Text,
        "Zeros: this is no build of Redis' sources.",
        "00000000",
    ),
    always(Server, "redis_git_dirty", Flag, "Likewise.", "0"),
    field(Server, "redis_mode", Text, "How the node runs.", |view| {
        view.core.boot.mode.name().into()
    }),
    field(
        Server,
        "os",
        Text,
        "Operating system, its release and the machine's architecture.",
        |view| some(&view.core.boot.platform.os),
    ),
    field(Server, "arch_bits", Gauge, "Bits of a pointer.", |_| usize::BITS.into()),
    field(Server, "monotonic_clock", Text, "Where the engine's ticks come from.", |view| {
        some(&view.core.boot.platform.clock)
    }),
    field(Server, "multiplexing_api", Text, "How sockets are watched.", |view| {
        some(&view.core.boot.platform.poller)
    }),
    field(Server, "process_id", Gauge, "Process id.", |view| view.core.boot.pid.into()),
    field(
        Server,
        "process_supervised",
        Text,
        "`supervised`: who is told that the server is ready.",
        |view| match view.core.config.supervised {
            Supervised::Auto => "unknown".into(),
            other => other.name().into(),
        },
    ),
    field(Server, "run_id", Text, "Random name of this run of the server.", |view| {
        view.core.run_id.as_str().into()
    }),
    field(Server, "tcp_port", Gauge, "Port of client connections.", |view| {
        view.core.config.port.into()
    }),
    field(Server, "server_time_usec", Gauge, "Wall clock, microseconds since 1970.", |view| {
        view.core.now.wall_us.into()
    }),
    field(Server, "uptime_in_seconds", Seconds, "Time since the start.", |view| {
        uptime_secs(view).into()
    }),
    field(Server, "uptime_in_days", Gauge, "The same in whole days.", |view| {
        (uptime_secs(view) / 86_400).into()
    }),
    field(Server, "hz", Gauge, "Rounds of housekeeping a second.", |view| {
        view.parts.hz(view.core).into()
    }),
    field(Server, "configured_hz", Gauge, "`hz`.", |view| view.core.config.hz.into()),
    field(Server, "lru_clock", Gauge, "Clock of keys' last use: seconds, 24 bits.", |view| {
        view.data.clock.into()
    }),
    field(Server, "executable", Text, "Path of the binary.", |view| {
        view.core.boot.executable.as_str().into()
    }),
    field(
        Server,
        "config_file",
        Text,
        "Path of the configuration file; empty without one.",
        |view| view.core.boot.config_file.clone().unwrap_or_default().into(),
    ),
    always(Server, "io_threads_active", Flag, "Threads that read and write for clients.", "0"),
    field(
        Server,
        "shutdown_in_milliseconds",
        Gauge,
        "During SHUTDOWN: how long it still waits for replicas at most.",
        |view| {
            let ending = view.parts.ending.has_begun();
            let deadline = view.core.timers.due(Timer::Shutdown).filter(|_| ending);
            let left = |at: u64| at.saturating_sub(view.core.now.mono_us) / 1000;
            deadline.map(left).into()
        },
    ),
    field(
        Server,
        "listenerN",
        Lines,
        "What is listened on: `tcp` with addresses and port, `unix` with its path.",
        listeners,
    ),
    field(Clients, "connected_clients", Gauge, "Connections, without those of replicas.", |view| {
        view.clients.into()
    }),
    always(Clients, "cluster_connections", Gauge, "Links of the cluster bus.", "0"),
    field(Clients, "maxclients", Gauge, "`maxclients`: connections allowed.", |view| {
        view.core.config.maxclients.into()
    }),
    field(
        Clients,
        "client_recent_max_input_buffer",
        Bytes,
        "The largest query buffer now.",
        |view| view.input_bytes_max.into(),
    ),
    field(Clients, "client_recent_max_output_buffer", Bytes, "The largest output now.", |view| {
        view.output_bytes_max.into()
    }),
    field(
        Clients,
        "blocked_clients",
        Gauge,
        "Clients that wait: WAIT, SAVE, a pause, an answer from outside.",
        |view| view.blocked.into(),
    ),
    always(Clients, "tracking_clients", Gauge, "Clients with CLIENT TRACKING.", "0"),
    field(
        Clients,
        "pubsub_clients",
        Gauge,
        "Clients with subscriptions (a field of Valkey).",
        |view| view.parts.pubsub.clients().into(),
    ),
    field(
        Clients,
        "watching_clients",
        Gauge,
        "Clients that watch keys (a field of Valkey).",
        |view| view.watching.into(),
    ),
    field(Clients, "clients_in_timeout_table", Gauge, "Waiting clients with a deadline.", |view| {
        view.parts.clients.deadlines_len().into()
    }),
    field(Clients, "total_watched_keys", Gauge, "Keys under WATCH (a field of Valkey).", |view| {
        view.data.watch.len().into()
    }),
    always(Clients, "total_blocking_keys", Gauge, "Keys that clients wait for.", "0"),
    always(Clients, "total_blocking_keys_on_nokey", Gauge, "Keys whose end clients wait for.", "0"),
    field(Memory, "used_memory", Bytes, "Data and buffers, by the server's own account.", |view| {
        view.used_bytes.into()
    }),
    field(Memory, "used_memory_human", Human, "The same.", |view| human(view.used_bytes).into()),
    field(
        Memory,
        "used_memory_rss",
        Bytes,
        "Resident memory of the process, sampled by housekeeping.",
        |view| process(view).rss_bytes.into(),
    ),
    field(Memory, "used_memory_rss_human", Human, "The same.", |view| {
        human(process(view).rss_bytes).into()
    }),
    field(Memory, "used_memory_peak", Bytes, "The most that `used_memory` was.", |view| {
        view.peak_bytes().into()
    }),
    field(Memory, "used_memory_peak_human", Human, "The same.", |view| {
        human(view.peak_bytes()).into()
    }),
    field(
        Memory,
        "used_memory_peak_perc",
        Ratio,
        "`used_memory` in percent of its peak.",
        |view| format!("{}%", percent(view.used_bytes, view.peak_bytes())).into(),
    ),
    field(
        Memory,
        "used_memory_overhead",
        Bytes,
        "Buffers: connections and the replication backlog.",
        |view| view.used_bytes.saturating_sub(view.dataset_bytes()).into(),
    ),
    always(Memory, "used_memory_startup", Bytes, "The account begins at zero.", "0"),
    field(Memory, "used_memory_dataset", Bytes, "Keys, values and their tables.", |view| {
        view.dataset_bytes().into()
    }),
    field(
        Memory,
        "used_memory_dataset_perc",
        Ratio,
        "The same in percent of `used_memory`.",
        |view| format!("{}%", percent(view.dataset_bytes(), view.used_bytes)).into(),
    ),
    field(
        Memory,
        "allocator_allocated",
        Bytes,
        "Bytes that the allocator has handed out.",
        |view| process(view).allocated_bytes.into(),
    ),
    field(Memory, "allocator_active", Bytes, "Bytes in pages that it uses.", |view| {
        process(view).active_bytes.into()
    }),
    field(Memory, "allocator_resident", Bytes, "Bytes that it keeps resident.", |view| {
        process(view).resident_bytes.into()
    }),
    field(Memory, "total_system_memory", Bytes, "Physical memory of the machine.", |view| {
        process(view).system_memory_bytes.into()
    }),
    field(Memory, "total_system_memory_human", Human, "The same.", |view| {
        human(process(view).system_memory_bytes).into()
    }),
    always(Memory, "used_memory_lua", Bytes, "Old name of `used_memory_vm_eval`.", "0"),
    always(Memory, "used_memory_vm_eval", Bytes, "Scripts' interpreter.", "0"),
    always(Memory, "used_memory_lua_human", Human, "The same.", "0B"),
    always(Memory, "used_memory_scripts_eval", Bytes, "Cached scripts.", "0"),
    always(Memory, "number_of_cached_scripts", Gauge, "Cached scripts.", "0"),
    always(Memory, "number_of_functions", Gauge, "Functions.", "0"),
    always(Memory, "number_of_libraries", Gauge, "Libraries of functions.", "0"),
    always(Memory, "used_memory_vm_functions", Bytes, "Functions' interpreter.", "0"),
    always(Memory, "used_memory_vm_total", Bytes, "Both interpreters.", "0"),
    always(Memory, "used_memory_vm_total_human", Human, "The same.", "0B"),
    always(Memory, "used_memory_functions", Bytes, "Functions.", "0"),
    always(Memory, "used_memory_scripts", Bytes, "Scripts and functions.", "0"),
    always(Memory, "used_memory_scripts_human", Human, "The same.", "0B"),
    field(Memory, "maxmemory", Bytes, "`maxmemory`; 0 sets no bound.", |view| {
        view.core.config.maxmemory.into()
    }),
    field(Memory, "maxmemory_human", Human, "The same.", |view| {
        human(view.core.config.maxmemory).into()
    }),
    field(Memory, "maxmemory_policy", Text, "`maxmemory-policy`.", |view| {
        view.core.config.maxmemory_policy.name().into()
    }),
    field(
        Memory,
        "allocator_frag_ratio",
        Ratio,
        "`allocator_active` by `allocator_allocated`.",
        |view| ratio(process(view).active_bytes, process(view).allocated_bytes).into(),
    ),
    field(Memory, "allocator_frag_bytes", Bytes, "Their difference.", |view| {
        difference(process(view).active_bytes, process(view).allocated_bytes).into()
    }),
    field(
        Memory,
        "allocator_rss_ratio",
        Ratio,
        "`allocator_resident` by `allocator_active`.",
        |view| ratio(process(view).resident_bytes, process(view).active_bytes).into(),
    ),
    field(Memory, "allocator_rss_bytes", Bytes, "Their difference.", |view| {
        difference(process(view).resident_bytes, process(view).active_bytes).into()
    }),
    field(
        Memory,
        "rss_overhead_ratio",
        Ratio,
        "`used_memory_rss` by `allocator_resident`.",
        |view| ratio(process(view).rss_bytes, process(view).resident_bytes).into(),
    ),
    field(Memory, "rss_overhead_bytes", Bytes, "Their difference.", |view| {
        difference(process(view).rss_bytes, process(view).resident_bytes).into()
    }),
    field(
        Memory,
        "mem_fragmentation_ratio",
        Ratio,
        "`used_memory_rss` by `used_memory`.",
        |view| ratio(process(view).rss_bytes, view.used_bytes).into(),
    ),
    field(Memory, "mem_fragmentation_bytes", Bytes, "Their difference.", |view| {
        difference(process(view).rss_bytes, view.used_bytes).into()
    }),
    field(
        Memory,
        "mem_not_counted_for_evict",
        Bytes,
        "Replicas' output beyond the backlog's size, which eviction would leave out.",
        |view| view.stream_bytes().saturating_sub(view.core.config.repl_backlog_size).into(),
    ),
    field(Memory, "mem_replication_backlog", Bytes, "The replication backlog.", |view| {
        view.backlog_bytes().into()
    }),
    field(
        Memory,
        "mem_total_replication_buffers",
        Bytes,
        "Backlog and replicas' outputs; they share their blocks.",
        |view| view.stream_bytes().into(),
    ),
    field(
        Memory,
        "mem_clients_slaves",
        Bytes,
        "Connections of replicas, shared blocks counted for each.",
        |view| view.replica_bytes.into(),
    ),
    field(Memory, "mem_clients_normal", Bytes, "All other connections.", |view| {
        view.client_bytes.into()
    }),
    always(Memory, "mem_cluster_links", Bytes, "Links of the cluster bus.", "0"),
    always(Memory, "mem_aof_buffer", Bytes, "Output of the append-only file.", "0"),
    field(Memory, "mem_allocator", Text, "Name and version of the allocator.", |view| {
        some(&view.core.boot.platform.allocator)
    }),
    always(
        Memory,
        "active_defrag_running",
        Gauge,
        "Share of CPU time that defragmentation takes, percent.",
        "0",
    ),
    field(
        Memory,
        "lazyfree_pending_objects",
        Gauge,
        "Detached data that has yet to be handed to whoever frees it.",
        |view| view.data.garbage_len().into(),
    ),
    field(Cpu, "used_cpu_sys", Seconds, "CPU time in the kernel.", |view| {
        seconds_of(process(view).cpu_sys_us).into()
    }),
    field(Cpu, "used_cpu_user", Seconds, "CPU time in user space.", |view| {
        seconds_of(process(view).cpu_user_us).into()
    }),
    always(
        Cpu,
        "used_cpu_sys_children",
        Seconds,
        "Of child processes: there are none.",
        "0.000000",
    ),
    always(Cpu, "used_cpu_user_children", Seconds, "Likewise.", "0.000000"),
    field(
        Cpu,
        "used_cpu_sys_main_thread",
        Seconds,
        "CPU time in the kernel, of the engine's thread.",
        |view| seconds_of(process(view).cpu_sys_main_us).into(),
    ),
    field(
        Cpu,
        "used_cpu_user_main_thread",
        Seconds,
        "CPU time in user space, of the engine's thread.",
        |view| seconds_of(process(view).cpu_user_main_us).into(),
    ),
];

fn process<'a>(view: &View<'a>) -> &'a ProcessFigures {
    &view.core.stats.process
}

/// What the driver may not have told.
fn some(text: &str) -> Value {
    if text.is_empty() { Value::Absent } else { text.into() }
}

fn uptime_secs(view: &View<'_>) -> u64 {
    view.core.now.mono_us.saturating_sub(view.core.started.mono_us) / 1_000_000
}

fn listeners(view: &View<'_>) -> Value {
    let config = &view.core.config;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut lines = Vec::new();
    if config.port != 0 && !config.bind.0.is_empty() {
        let addresses: String =
            config.bind.0.iter().map(|a| format!(",bind={}", text(a))).collect();
        lines.push(("listener0".to_owned(), format!("name=tcp{addresses},port={}", config.port)));
    }
    if !config.unixsocket.is_empty() {
        lines
            .push(("listener1".to_owned(), format!("name=unix,bind={}", text(&config.unixsocket))));
    }
    Value::Lines(lines)
}
