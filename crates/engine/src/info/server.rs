//! The sections `server`, `clients`, `memory`, `cpu` and `modules`.

use super::{
    Field, Kind, Section, Value, View, always, difference, field, human, percent, ratio, seconds_of,
};
use crate::config::value::Supervised;
use crate::io::ProcessMetrics;
use crate::timers::Timer;

use Kind::{Bytes, Counter, Flag, Gauge, Human, Lines, Ratio, Seconds, Text};
use Section::{Clients, Cpu, Memory, Server};

/// The rows, in Redis' order.
pub(super) const FIELDS: &[Field] = &[
    field(
        Server,
        "redis_version",
        Text,
        "Version of Redis that this server is compatible with.",
        |_| crate::REDIS_VERSION.into(),
    ),
    field(Server, "russet_version", Text, "Russet's own version.", |_| {
        crate::RUSSET_VERSION.into()
    }),
    always(Server, "redis_git_sha1", Text, "Zeros: this is not a build of Redis.", "00000000"),
    always(Server, "redis_git_dirty", Flag, "0: this is not a build of Redis.", "0"),
    field(Server, "redis_mode", Text, "Mode of the server.", |view| {
        view.core.boot.mode.name().into()
    }),
    field(
        Server,
        "os",
        Text,
        "Operating system, its release and the machine's architecture.",
        |view| some(&view.core.boot.platform.os),
    ),
    field(Server, "arch_bits", Gauge, "Pointer size in bits.", |_| usize::BITS.into()),
    field(Server, "monotonic_clock", Text, "Source of the monotonic clock.", |view| {
        some(&view.core.boot.platform.clock)
    }),
    field(Server, "multiplexing_api", Text, "System call that polls sockets.", |view| {
        some(&view.core.boot.platform.poller)
    }),
    field(Server, "process_id", Gauge, "Process id.", |view| view.core.boot.pid.into()),
    field(Server, "process_supervised", Text, "`supervised`: the process supervisor.", |view| {
        match view.core.config.supervised {
            Supervised::Auto => "unknown".into(),
            other => other.name().into(),
        }
    }),
    field(Server, "run_id", Text, "Random id of this run of the server.", |view| {
        view.core.run_id.as_str().into()
    }),
    field(Server, "tcp_port", Gauge, "TCP port for clients.", |view| view.core.config.port.into()),
    field(Server, "server_time_usec", Gauge, "Wall clock in microseconds since 1970.", |view| {
        view.core.now.wall_us.into()
    }),
    field(Server, "uptime_in_seconds", Seconds, "Seconds since the start.", |view| {
        uptime_secs(view).into()
    }),
    field(Server, "uptime_in_days", Gauge, "Days since the start.", |view| {
        (uptime_secs(view) / 86_400).into()
    }),
    field(Server, "hz", Gauge, "Frequency of the cron.", |view| view.parts.hz(view.core).into()),
    field(Server, "configured_hz", Gauge, "Configured value of `hz`.", |view| {
        view.core.config.hz.into()
    }),
    field(Server, "lru_clock", Gauge, "LRU clock: seconds, 24 bits.", |view| {
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
    always(Server, "io_threads_active", Flag, "Whether I/O threads are active.", "0"),
    field(
        Server,
        "shutdown_in_milliseconds",
        Gauge,
        "During SHUTDOWN: time left to wait for lagging replicas.",
        |view| {
            let is_running = view.parts.shutdown.is_running();
            let deadline = view.core.timers.due(Timer::Shutdown).filter(|_| is_running);
            let left = |at: u64| at.saturating_sub(view.core.now.mono_us) / 1000;
            deadline.map(left).into()
        },
    ),
    field(
        Server,
        "listenerN",
        Lines,
        "Each listener: `tcp` with addresses and port, `unix` with its path.",
        listeners,
    ),
    field(Clients, "connected_clients", Gauge, "Client connections, without replicas.", |view| {
        view.clients.into()
    }),
    field(Clients, "cluster_connections", Gauge, "Connections of the cluster bus.", |view| {
        view.bus_links.into()
    }),
    field(Clients, "maxclients", Gauge, "`maxclients`: maximum number of connections.", |view| {
        view.core.config.maxclients.into()
    }),
    field(
        Clients,
        "client_recent_max_input_buffer",
        Bytes,
        "Largest current query buffer.",
        |view| view.input_bytes_max.into(),
    ),
    field(
        Clients,
        "client_recent_max_output_buffer",
        Bytes,
        "Largest current output buffer.",
        |view| view.output_bytes_max.into(),
    ),
    field(
        Clients,
        "blocked_clients",
        Gauge,
        "Blocked clients: in BLPOP and the like, WAIT, SAVE, a pause, or a pending request.",
        |view| view.blocked.into(),
    ),
    always(Clients, "tracking_clients", Gauge, "Clients with CLIENT TRACKING.", "0"),
    field(Clients, "pubsub_clients", Gauge, "Clients with subscriptions (Valkey only).", |view| {
        view.parts.pubsub.clients().into()
    }),
    field(Clients, "watching_clients", Gauge, "Clients that watch keys (Valkey only).", |view| {
        view.watching.into()
    }),
    field(Clients, "clients_in_timeout_table", Gauge, "Blocked clients with a timeout.", |view| {
        view.parts.clients.deadlines_len().into()
    }),
    field(Clients, "total_watched_keys", Gauge, "Watched keys (Valkey only).", |view| {
        view.data.watch.len().into()
    }),
    field(Clients, "total_blocking_keys", Gauge, "Keys that block clients.", |view| {
        view.data.awaited.len().into()
    }),
    field(
        Clients,
        "total_blocking_keys_on_nokey",
        Gauge,
        "Keys whose deletion unblocks clients.",
        |view| view.data.awaited.len_or_gone().into(),
    ),
    field(
        Memory,
        "used_memory",
        Bytes,
        "Memory of the server itself at its start, and of data and buffers as counted by it.",
        |view| view.used_bytes.into(),
    ),
    field(Memory, "used_memory_human", Human, "Human-readable form.", |view| {
        human(view.used_bytes).into()
    }),
    field(
        Memory,
        "used_memory_rss",
        Bytes,
        "Resident set size of the process, sampled by the cron.",
        |view| process(view).rss_bytes.into(),
    ),
    field(Memory, "used_memory_rss_human", Human, "Human-readable form.", |view| {
        human(process(view).rss_bytes).into()
    }),
    field(Memory, "used_memory_peak", Bytes, "Peak of `used_memory`.", |view| {
        view.peak_bytes().into()
    }),
    field(Memory, "used_memory_peak_human", Human, "Human-readable form.", |view| {
        human(view.peak_bytes()).into()
    }),
    field(
        Memory,
        "used_memory_peak_perc",
        Ratio,
        "`used_memory` as a percentage of its peak.",
        |view| format!("{}%", percent(view.used_bytes, view.peak_bytes())).into(),
    ),
    field(
        Memory,
        "used_memory_overhead",
        Bytes,
        "`used_memory_startup`, client buffers, the replication backlog and copies.",
        |view| view.used_bytes.saturating_sub(view.dataset_bytes()).into(),
    ),
    field(
        Memory,
        "used_memory_startup",
        Bytes,
        "Memory allocated at the start, before there is data.",
        |view| view.startup_bytes().into(),
    ),
    field(
        Memory,
        "used_memory_dataset",
        Bytes,
        "Memory of keys, values and hash tables.",
        |view| view.dataset_bytes().into(),
    ),
    field(
        Memory,
        "used_memory_dataset_perc",
        Ratio,
        "`used_memory_dataset` as a percentage of `used_memory` without `used_memory_startup`.",
        |view| {
            let counted = view.used_bytes.saturating_sub(view.startup_bytes());
            format!("{}%", percent(view.dataset_bytes(), counted)).into()
        },
    ),
    field(Memory, "allocator_allocated", Bytes, "Bytes allocated from the allocator.", |view| {
        process(view).allocated_bytes.into()
    }),
    field(Memory, "allocator_active", Bytes, "Bytes in active pages of the allocator.", |view| {
        process(view).active_bytes.into()
    }),
    field(Memory, "allocator_resident", Bytes, "Resident bytes of the allocator.", |view| {
        process(view).resident_bytes.into()
    }),
    field(Memory, "total_system_memory", Bytes, "Physical memory of the machine.", |view| {
        process(view).system_memory_bytes.into()
    }),
    field(Memory, "total_system_memory_human", Human, "Human-readable form.", |view| {
        human(process(view).system_memory_bytes).into()
    }),
    always(Memory, "used_memory_lua", Bytes, "Old name of `used_memory_vm_eval`.", "0"),
    always(Memory, "used_memory_vm_eval", Bytes, "Memory of the script interpreter.", "0"),
    always(Memory, "used_memory_lua_human", Human, "Human-readable form.", "0B"),
    always(Memory, "used_memory_scripts_eval", Bytes, "Memory of cached scripts.", "0"),
    always(Memory, "number_of_cached_scripts", Gauge, "Cached scripts.", "0"),
    always(Memory, "number_of_functions", Gauge, "Functions.", "0"),
    always(Memory, "number_of_libraries", Gauge, "Function libraries.", "0"),
    always(Memory, "used_memory_vm_functions", Bytes, "Memory of the function interpreter.", "0"),
    always(Memory, "used_memory_vm_total", Bytes, "Memory of both interpreters.", "0"),
    always(Memory, "used_memory_vm_total_human", Human, "Human-readable form.", "0B"),
    always(Memory, "used_memory_functions", Bytes, "Memory of functions.", "0"),
    always(Memory, "used_memory_scripts", Bytes, "Memory of scripts and functions.", "0"),
    always(Memory, "used_memory_scripts_human", Human, "Human-readable form.", "0B"),
    field(Memory, "maxmemory", Bytes, "`maxmemory`; 0 sets no limit.", |view| {
        view.core.config.maxmemory.into()
    }),
    field(Memory, "maxmemory_human", Human, "Human-readable form.", |view| {
        human(view.core.config.maxmemory).into()
    }),
    field(Memory, "maxmemory_policy", Text, "`maxmemory-policy`.", |view| {
        view.core.config.maxmemory_policy.name().into()
    }),
    field(
        Memory,
        "allocator_frag_ratio",
        Ratio,
        "`allocator_active` / `allocator_allocated`.",
        |view| ratio(process(view).active_bytes, process(view).allocated_bytes).into(),
    ),
    field(
        Memory,
        "allocator_frag_bytes",
        Bytes,
        "`allocator_active` - `allocator_allocated`.",
        |view| difference(process(view).active_bytes, process(view).allocated_bytes).into(),
    ),
    field(
        Memory,
        "allocator_rss_ratio",
        Ratio,
        "`allocator_resident` / `allocator_active`.",
        |view| ratio(process(view).resident_bytes, process(view).active_bytes).into(),
    ),
    field(
        Memory,
        "allocator_rss_bytes",
        Bytes,
        "`allocator_resident` - `allocator_active`.",
        |view| difference(process(view).resident_bytes, process(view).active_bytes).into(),
    ),
    field(
        Memory,
        "rss_overhead_ratio",
        Ratio,
        "`used_memory_rss` / `allocator_resident`.",
        |view| ratio(process(view).rss_bytes, process(view).resident_bytes).into(),
    ),
    field(
        Memory,
        "rss_overhead_bytes",
        Bytes,
        "`used_memory_rss` - `allocator_resident`.",
        |view| difference(process(view).rss_bytes, process(view).resident_bytes).into(),
    ),
    field(Memory, "mem_fragmentation_ratio", Ratio, "`used_memory_rss` / `used_memory`.", |view| {
        ratio(process(view).rss_bytes, view.used_bytes).into()
    }),
    field(Memory, "mem_fragmentation_bytes", Bytes, "`used_memory_rss` - `used_memory`.", |view| {
        difference(process(view).rss_bytes, view.used_bytes).into()
    }),
    field(
        Memory,
        "mem_not_counted_for_evict",
        Bytes,
        "Replica output buffers beyond the size of the backlog, excluded from eviction.",
        |view| view.stream_bytes().saturating_sub(view.core.config.repl_backlog_size).into(),
    ),
    field(Memory, "mem_replication_backlog", Bytes, "Memory of the replication backlog.", |view| {
        view.backlog_bytes().into()
    }),
    field(
        Memory,
        "mem_total_replication_buffers",
        Bytes,
        "Memory of the backlog and replica output buffers, which share blocks.",
        |view| view.stream_bytes().into(),
    ),
    field(
        Memory,
        "mem_clients_slaves",
        Bytes,
        "Memory of replica connections; shared blocks are counted for each.",
        |view| view.replica_bytes.into(),
    ),
    field(Memory, "mem_clients_normal", Bytes, "Memory of all other client connections.", |view| {
        view.client_bytes.into()
    }),
    field(Memory, "mem_cluster_links", Bytes, "Connections of the cluster bus.", |view| {
        view.bus_bytes.into()
    }),
    field(Memory, "mem_aof_buffer", Bytes, "Bytes for the AOF that are not written yet.", |view| {
        view.parts.aof.log().map_or(0, |log| log.unwritten_bytes()).into()
    }),
    field(Memory, "mem_allocator", Text, "Name and version of the allocator.", |view| {
        some(&view.core.boot.platform.allocator)
    }),
    always(Memory, "active_defrag_running", Gauge, "CPU percentage of defragmentation.", "0"),
    field(
        Memory,
        "lazyfree_pending_objects",
        Gauge,
        "Detached data waiting to be freed by the lazy-free thread.",
        |view| view.data.garbage_objects().into(),
    ),
    field(
        Memory,
        "lazyfreed_objects",
        Counter,
        "Values and keys of detached databases that were given to the lazy-free thread.",
        |view| view.core.stats.lazyfreed_objects.into(),
    ),
    field(Cpu, "used_cpu_sys", Seconds, "System CPU time.", |view| {
        seconds_of(process(view).cpu_sys_us).into()
    }),
    field(Cpu, "used_cpu_user", Seconds, "User CPU time.", |view| {
        seconds_of(process(view).cpu_user_us).into()
    }),
    always(
        Cpu,
        "used_cpu_sys_children",
        Seconds,
        "System CPU time of child processes: there are none.",
        "0.000000",
    ),
    always(
        Cpu,
        "used_cpu_user_children",
        Seconds,
        "User CPU time of child processes: there are none.",
        "0.000000",
    ),
    field(
        Cpu,
        "used_cpu_sys_main_thread",
        Seconds,
        "System CPU time of the main thread.",
        |view| seconds_of(process(view).cpu_sys_main_us).into(),
    ),
    field(Cpu, "used_cpu_user_main_thread", Seconds, "User CPU time of the main thread.", |view| {
        seconds_of(process(view).cpu_user_main_us).into()
    }),
];

fn process<'a>(view: &View<'a>) -> &'a ProcessMetrics {
    &view.core.stats.process
}

/// Returns a value unless the host has not provided it.
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
