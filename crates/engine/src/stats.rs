//! Counters for INFO.

use std::collections::{BTreeMap, BTreeSet};

use russet_protocol::ErrorReply;

use crate::slot_stats::SlotStats;

/// Counters of one command.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommandStats {
    /// Executions.
    pub calls: u64,
    /// Total execution time in microseconds.
    pub total_us: u64,
    /// Calls rejected before execution.
    pub rejected: u64,
    /// Executions that returned an error.
    pub failed: u64,
}

/// Number of samples that a rate is averaged over.
const SAMPLES: usize = 16;

/// The rate of a counter that is sampled ten times a second, for `instantaneous_…`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    last: u64,
    last_us: u64,
    samples: [u64; SAMPLES],
    next: usize,
}

impl Rate {
    fn sample(&mut self, now_us: u64, value: u64) {
        let elapsed = now_us.saturating_sub(self.last_us).max(1);
        self.samples[self.next] = (value - self.last).saturating_mul(1_000_000) / elapsed;
        self.next = (self.next + 1) % SAMPLES;
        (self.last, self.last_us) = (value, now_us);
    }

    /// Returns the recent rate per second.
    pub fn per_second(&self) -> u64 {
        self.samples.iter().sum::<u64>() / SAMPLES as u64
    }
}

/// CPU time of turns, to detect stalls.
#[derive(Clone, Copy, Debug, Default)]
pub struct TurnStats {
    /// Number of turns.
    pub total: u64,
    /// Turns longer than one millisecond.
    pub over_1ms: u64,
    /// Turns longer than five milliseconds.
    pub over_5ms: u64,
    /// The longest turn in microseconds.
    pub longest_us: u64,
    /// Total time of all turns in microseconds.
    pub total_us: u64,
}

/// Counters other than those of the keyspace and of replication.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Accepted connections.
    pub connections_received: u64,
    /// Rejected connections.
    pub connections_rejected: u64,
    /// Executed commands.
    pub commands: u64,
    /// Bytes read, except from the master.
    pub bytes_in: u64,
    /// Bytes written, except to replicas.
    pub bytes_out: u64,
    /// Bytes read from the master.
    pub repl_bytes_in: u64,
    /// Bytes written to replicas.
    pub repl_bytes_out: u64,
    /// Reads that returned bytes.
    pub reads: u64,
    /// Writes to sockets.
    pub writes: u64,
    /// Error replies by error code.
    pub errors: BTreeMap<String, u64>,
    /// Total error replies.
    pub error_replies: u64,
    /// Errors of commands in the master's stream.
    pub unexpected_errors: u64,
    /// Failed authentications.
    pub auth_failures: u64,
    /// Connections closed for a protocol error.
    pub protocol_errors: u64,
    /// Clients closed because of the size of their query buffer.
    pub query_buffer_limit_disconnections: u64,
    /// Clients closed because of the size of their output.
    pub output_limit_disconnections: u64,
    /// Turns.
    pub turns: TurnStats,
    /// Commands per second.
    pub commands_rate: Rate,
    /// Bytes read per second.
    pub in_rate: Rate,
    /// Bytes written per second.
    pub out_rate: Rate,
    /// Bytes read from the master per second.
    pub repl_in_rate: Rate,
    /// Bytes written to replicas per second.
    pub repl_out_rate: Rate,
    /// Turns per second.
    pub turns_rate: Rate,
    /// Microseconds of turns per second.
    pub turns_us_rate: Rate,
    /// Total time of active expiry in microseconds.
    pub expire_us: u64,
    /// Metrics of the process, sampled by the cron.
    pub process: crate::io::ProcessMetrics,
    /// Keys set by the last load of a dump file or of a master's payload.
    pub last_load_keys: u64,
    /// Keys omitted by it because they had expired.
    pub last_load_expired: u64,
    /// Memory of the process that the node does not count, at its first turn: the program's tables,
    /// its threads and their buffers. None before.
    pub startup_bytes: Option<u64>,
    /// Peak of used memory in bytes.
    pub memory_peak: u64,
    /// Objects that were given to the lazy-free thread.
    pub lazyfreed_objects: u64,
    /// Payloads of RESTORE that were checked to the last element.
    pub dump_payload_sanitizations: u64,
    /// What each slot has cost, with `cluster-slot-stats-enabled` in cluster mode.
    pub slots: Option<Box<SlotStats>>,
    by_command: Vec<CommandStats>,
    /// The number of EXEC while a transaction runs: the time of its commands is its own, too.
    transaction: Option<usize>,
    /// The time that counts for a command and for EXEC.
    nested_us: u64,
    last_tick_us: u64,
    /// Monotonic microseconds of the last log line about a possible attack.
    attack_warned_us: Option<u64>,
    /// Monotonic microseconds of the last log line about writes accepted without persistence.
    disk_warned_us: Option<u64>,
    /// Commands that are not implemented and were logged.
    missing_logged: BTreeSet<&'static str>,
}

/// Minimum microseconds between two log lines about possible attacks.
const ATTACK_WARNING_US: u64 = 60_000_000;

/// Minimum microseconds between two log lines about writes accepted without persistence.
const DISK_WARNING_US: u64 = 10_000_000;

impl Stats {
    fn command(&mut self, number: usize) -> &mut CommandStats {
        if self.by_command.len() <= number {
            self.by_command.resize(number + 1, CommandStats::default());
        }
        &mut self.by_command[number]
    }

    /// Sets the start time of the next command.
    pub(crate) fn tick(&mut self, tick_us: u64) {
        self.last_tick_us = tick_us;
    }

    /// Counts a command that ended at this tick, and returns how many microseconds it took. It started when the previous
    /// one ended.
    #[inline]
    pub(crate) fn command_ended(
        &mut self,
        number: usize,
        tick_us: u64,
        error: Option<&ErrorReply>,
    ) -> u64 {
        let took = tick_us.saturating_sub(self.last_tick_us);
        self.last_tick_us = tick_us;
        self.commands += 1;
        if let Some(exec) = self.transaction {
            self.command(exec).total_us += took;
            self.nested_us += took;
        }
        if let Some(slots) = &mut self.slots {
            slots.took(took);
        }
        let stats = self.command(number);
        stats.calls += 1;
        stats.total_us += took;
        if let Some(error) = error {
            stats.failed += 1;
            self.error(error);
        }
        took
    }

    /// Counts a command that has waited in vain.
    pub(crate) fn command_waited(&mut self, number: usize, has_failed: bool) {
        self.commands += 1;
        let stats = self.command(number);
        stats.calls += 1;
        stats.failed += u64::from(has_failed);
    }

    /// Sets whether the cost of each slot is counted, from now on.
    pub(crate) fn set_counts_slots(&mut self, is_on: bool) {
        if self.slots.is_some() != is_on {
            self.slots = is_on.then(Box::default);
        }
    }

    /// Begins a transaction: `exec` is the number of EXEC, which has just been counted itself.
    pub(crate) fn transaction_began(&mut self, exec: usize) {
        self.transaction = Some(exec);
    }

    /// Ends it.
    pub(crate) fn transaction_ended(&mut self) {
        self.transaction = None;
    }

    /// Counts a command rejected before execution.
    pub(crate) fn rejected(&mut self, number: usize) {
        self.command(number).rejected += 1;
    }

    /// Counts an error reply.
    pub(crate) fn error(&mut self, error: &ErrorReply) {
        self.error_replies += 1;
        // Codes may be invented by clients, so the table has a limit.
        if self.errors.len() < 128 {
            *self.errors.entry(error.code()).or_default() += 1;
        } else if let Some(count) = self.errors.get_mut(&error.code()) {
            *count += 1;
        }
    }

    /// Whether to log a possible attack now: at most once a minute.
    pub(crate) fn should_log_attack(&mut self, now_us: u64) -> bool {
        is_time(&mut self.attack_warned_us, now_us, ATTACK_WARNING_US)
    }

    /// Whether to log a write accepted without persistence now: at most once in ten seconds.
    pub(crate) fn should_log_disk_error(&mut self, now_us: u64) -> bool {
        is_time(&mut self.disk_warned_us, now_us, DISK_WARNING_US)
    }

    /// Whether to log that a command is not implemented: once for each.
    pub(crate) fn should_log_missing(&mut self, name: &'static str) -> bool {
        self.missing_logged.insert(name)
    }

    /// Returns the counters of a command.
    pub fn of(&self, number: usize) -> CommandStats {
        self.by_command.get(number).copied().unwrap_or_default()
    }

    /// Returns the total execution time of all commands in microseconds.
    pub fn commands_us(&self) -> u64 {
        let sum: u64 = self.by_command.iter().map(|command| command.total_us).sum();
        sum.saturating_sub(self.nested_us)
    }

    /// Resets the counters (CONFIG RESETSTAT).
    pub fn reset(&mut self) {
        *self = Stats {
            last_tick_us: self.last_tick_us,
            attack_warned_us: self.attack_warned_us,
            disk_warned_us: self.disk_warned_us,
            missing_logged: std::mem::take(&mut self.missing_logged),
            process: self.process,
            startup_bytes: self.startup_bytes,
            memory_peak: self.memory_peak,
            last_load_keys: self.last_load_keys,
            last_load_expired: self.last_load_expired,
            transaction: self.transaction,
            slots: self.slots.take().map(|_| Box::default()),
            ..Stats::default()
        };
    }

    /// Counts a turn of this duration.
    pub(crate) fn count_turn(&mut self, us: u64) {
        let turns = &mut self.turns;
        turns.total += 1;
        turns.total_us += us;
        turns.over_1ms += u64::from(us > 1000);
        turns.over_5ms += u64::from(us > 5000);
        turns.longest_us = turns.longest_us.max(us);
    }

    /// Samples the counters of all rates.
    pub(crate) fn sample(&mut self, now_us: u64) {
        self.commands_rate.sample(now_us, self.commands);
        self.in_rate.sample(now_us, self.bytes_in + self.repl_bytes_in);
        self.out_rate.sample(now_us, self.bytes_out + self.repl_bytes_out);
        self.repl_in_rate.sample(now_us, self.repl_bytes_in);
        self.repl_out_rate.sample(now_us, self.repl_bytes_out);
        self.turns_rate.sample(now_us, self.turns.total);
        self.turns_us_rate.sample(now_us, self.turns.total_us);
    }
}

/// Whether more than `every_us` have passed since the last time; if so, sets the last time to now.
fn is_time(last_us: &mut Option<u64>, now_us: u64, every_us: u64) -> bool {
    let is_time = last_us.is_none_or(|last| now_us.saturating_sub(last) > every_us);
    if is_time {
        *last_us = Some(now_us);
    }
    is_time
}
