//! What the node counts, for INFO.

use std::collections::BTreeMap;

use russet_protocol::ErrorReply;

/// Counters of one command.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommandStats {
    /// Times it ran.
    pub calls: u64,
    /// Microseconds it took, all told.
    pub total_us: u64,
    /// Times it was refused before it ran.
    pub rejected: u64,
    /// Times it ran and ended in an error.
    pub failed: u64,
}

/// How many samples the rates are averaged over.
const SAMPLES: usize = 16;

/// A counter sampled ten times a second, for `instantaneous_…`.
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

    /// Events a second, lately.
    pub fn per_second(&self) -> u64 {
        self.samples.iter().sum::<u64>() / SAMPLES as u64
    }
}

/// How much CPU time turns took, for those who watch for stalls.
#[derive(Clone, Copy, Debug, Default)]
pub struct TurnStats {
    /// Turns so far.
    pub total: u64,
    /// Those over one millisecond.
    pub over_1ms: u64,
    /// Those over five milliseconds.
    pub over_5ms: u64,
    /// The longest, microseconds.
    pub longest_us: u64,
    /// Microseconds that they took, all told.
    pub total_us: u64,
}

/// All counters that are not the keyspace's or replication's own.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Connections taken.
    pub connections_received: u64,
    /// Connections refused.
    pub connections_rejected: u64,
    /// Commands run.
    pub commands: u64,
    /// Bytes read, but for the master's.
    pub bytes_in: u64,
    /// Bytes written, but for replicas'.
    pub bytes_out: u64,
    /// Bytes read from the master.
    pub repl_bytes_in: u64,
    /// Bytes written to replicas.
    pub repl_bytes_out: u64,
    /// Reads that brought bytes.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Error replies, by their code.
    pub errors: BTreeMap<String, u64>,
    /// Error replies, all told.
    pub error_replies: u64,
    /// Errors of commands that came from the master.
    pub unexpected_errors: u64,
    /// Wrong names and passwords.
    pub auth_failures: u64,
    /// Peers that did not speak the protocol.
    pub protocol_errors: u64,
    /// Clients closed for the size of their query buffer.
    pub query_buffer_limit_disconnections: u64,
    /// Clients closed for the size of their output.
    pub output_limit_disconnections: u64,
    /// Turns.
    pub turns: TurnStats,
    /// Commands a second.
    pub commands_rate: Rate,
    /// Bytes read a second.
    pub in_rate: Rate,
    /// Bytes written a second.
    pub out_rate: Rate,
    /// Bytes read from the master a second.
    pub repl_in_rate: Rate,
    /// Bytes written to replicas a second.
    pub repl_out_rate: Rate,
    /// Turns a second.
    pub turns_rate: Rate,
    /// Microseconds of turns a second.
    pub turns_us_rate: Rate,
    /// Microseconds that active expiry took.
    pub expire_us: u64,
    /// The process' figures, sampled by the cron.
    pub process: crate::io::ProcessMetrics,
    /// The most memory that was in use.
    pub memory_peak: u64,
    by_command: Vec<CommandStats>,
    last_tick_us: u64,
    attack_warned_us: Option<u64>,
    /// Monotonic microseconds of the last line about writes that are taken without a disk to keep them.
    disk_warned_us: Option<u64>,
}

/// How often the log may tell of attacks.
const ATTACK_WARNING_US: u64 = 60_000_000;

/// Microseconds between two lines about writes that are taken without a disk.
const DISK_WARNING_US: u64 = 10_000_000;

impl Stats {
    fn command(&mut self, number: usize) -> &mut CommandStats {
        if self.by_command.len() <= number {
            self.by_command.resize(number + 1, CommandStats::default());
        }
        &mut self.by_command[number]
    }

    /// The time from which the next command counts.
    pub(crate) fn tick(&mut self, tick_us: u64) {
        self.last_tick_us = tick_us;
    }

    /// A command ended at this tick; it began where the one before it ended.
    #[inline]
    pub(crate) fn command_ended(
        &mut self,
        number: usize,
        tick_us: u64,
        error: Option<&ErrorReply>,
    ) {
        let took = tick_us.saturating_sub(self.last_tick_us);
        self.last_tick_us = tick_us;
        self.commands += 1;
        let stats = self.command(number);
        stats.calls += 1;
        stats.total_us += took;
        if let Some(error) = error {
            stats.failed += 1;
            self.error(error);
        }
    }

    /// A command was refused before it ran.
    pub(crate) fn rejected(&mut self, number: usize) {
        self.command(number).rejected += 1;
    }

    /// An error was replied.
    pub(crate) fn error(&mut self, error: &ErrorReply) {
        self.error_replies += 1;
        // Codes are counted by name; a flood of invented ones must not grow the table.
        if self.errors.len() < 128 {
            *self.errors.entry(error.code()).or_default() += 1;
        } else if let Some(count) = self.errors.get_mut(&error.code()) {
            *count += 1;
        }
    }

    /// Whether the log is to tell of an attack now; once a minute is enough.
    pub(crate) fn may_warn_of_attack(&mut self, now_us: u64) -> bool {
        is_time(&mut self.attack_warned_us, now_us, ATTACK_WARNING_US)
    }

    /// The same of writes that are taken without a disk.
    pub(crate) fn may_warn_of_disk(&mut self, now_us: u64) -> bool {
        is_time(&mut self.disk_warned_us, now_us, DISK_WARNING_US)
    }

    /// Counters of the command of this number.
    pub fn of(&self, number: usize) -> CommandStats {
        self.by_command.get(number).copied().unwrap_or_default()
    }

    /// Microseconds that commands took, all told.
    pub fn commands_us(&self) -> u64 {
        self.by_command.iter().map(|command| command.total_us).sum()
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&mut self) {
        *self = Stats {
            last_tick_us: self.last_tick_us,
            attack_warned_us: self.attack_warned_us,
            disk_warned_us: self.disk_warned_us,
            process: self.process,
            memory_peak: self.memory_peak,
            ..Stats::default()
        };
    }

    /// A turn ended.
    pub(crate) fn turn_took(&mut self, us: u64) {
        let turns = &mut self.turns;
        turns.total += 1;
        turns.total_us += us;
        turns.over_1ms += u64::from(us > 1000);
        turns.over_5ms += u64::from(us > 5000);
        turns.longest_us = turns.longest_us.max(us);
    }

    /// Takes the samples that rates are made of.
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

/// Whether something happens again that was last done then; if so, it is done now.
fn is_time(last_us: &mut Option<u64>, now_us: u64, every_us: u64) -> bool {
    let is_time = last_us.is_none_or(|last| now_us.saturating_sub(last) > every_us);
    if is_time {
        *last_us = Some(now_us);
    }
    is_time
}
