//! When the append-only file is rewritten: on BGREWRITEAOF, when it has grown, when a sync has failed, and at its beginning.

use russet_protocol::ErrorReply;

use super::files::{Aof, Status};
use crate::core::Core;
use crate::io::Level;
use crate::persist::saves::Saves;

/// The longest delay after failed rewrites, in seconds. The first is one second, each further one twice as long.
const DELAY_SECS_MAX: u64 = 60;

/// The same while replies wait for it.
const AWAITED_DELAY_SECS_MAX: u64 = 8;

/// The error of BGREWRITEAOF during a rewrite.
const ALREADY: ErrorReply =
    ErrorReply::fixed("ERR Background append only file rewriting already in progress");

/// When a rewrite begins, and what became of those so far.
#[derive(Debug, Default)]
pub struct Rewrites {
    is_wanted: bool,
    /// Why the last attempt failed, and monotonic microseconds when the next is due.
    failed: Option<(String, u64)>,
    /// Failed rewrites since the last success.
    pub failures: u32,
    /// Rewrites that have begun.
    pub count: u64,
    /// Whether none has succeeded since the file was switched on.
    is_first: bool,
    /// Duration of the last rewrite in seconds; none before the first.
    pub last_took_secs: Option<u64>,
    /// Peak of copied and not yet encoded bytes of the last rewrite.
    pub last_ahead_peak: u64,
    /// The size from which growth counts, in bytes.
    counted_bytes: u64,
}

impl Rewrites {
    /// Asks for a rewrite as soon as possible.
    pub(super) fn want(&mut self) {
        (self.is_wanted, self.failed) = (true, None);
    }

    /// Asks for the rewrite that begins an append-only file.
    pub(super) fn want_first(&mut self) {
        self.want();
        self.is_first = true;
    }

    /// Forgets what was asked for.
    pub(super) fn forget(&mut self) {
        (self.is_wanted, self.failed, self.is_first) = (false, None, false);
    }

    /// Whether a rewrite is to begin.
    pub fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    /// Whether none has succeeded since the file was switched on.
    pub(super) fn is_first(&self) -> bool {
        self.is_first
    }

    /// Takes the wish for a rewrite, which begins.
    pub(super) fn take_wanted(&mut self) -> bool {
        let is_wanted = std::mem::take(&mut self.is_wanted);
        self.count += u64::from(is_wanted);
        is_wanted
    }

    /// Returns why the last attempt failed, if none has succeeded since.
    pub fn failure(&self) -> Option<&str> {
        self.failed.as_ref().map(|(why, _)| why.as_str())
    }

    /// Returns the size from which growth counts, in bytes.
    pub fn counted_bytes(&self) -> u64 {
        self.counted_bytes
    }

    /// Counts growth from this size on.
    pub(super) fn count_from(&mut self, bytes: u64) {
        self.counted_bytes = bytes;
    }

    /// Notes a failure.
    pub(super) fn failed(&mut self, why: String, is_awaited: bool, now_us: u64) {
        let delay_secs = 1_u64 << self.failures.min(16);
        let most = if is_awaited { AWAITED_DELAY_SECS_MAX } else { DELAY_SECS_MAX };
        self.failures = self.failures.saturating_add(1);
        self.failed = Some((why, now_us + delay_secs.min(most) * 1_000_000));
    }

    /// Notes a success.
    pub(super) fn succeeded(&mut self, bytes: u64, took_us: u64) {
        (self.failed, self.failures, self.is_first) = (None, 0, false);
        self.last_took_secs = Some(took_us / 1_000_000);
        self.count_from(bytes);
    }

    /// Returns the growth in percent.
    fn growth(&self, bytes: u64) -> u64 {
        (bytes.saturating_mul(100) / self.counted_bytes.max(1)).saturating_sub(100)
    }
}

impl Aof {
    /// Asks for a rewrite (BGREWRITEAOF). Returns whether it begins at once.
    pub(crate) fn rewrite(&mut self, saves: &Saves) -> Result<bool, ErrorReply> {
        if self.next.is_some() {
            return Err(ALREADY);
        }
        self.rewrites.want();
        Ok(!saves.snapshots.is_full())
    }

    /// Whether a rewrite is running.
    pub fn is_rewriting(&self) -> bool {
        self.next.is_some()
    }

    /// Returns monotonic microseconds at the start of the running rewrite.
    pub fn rewrite_began_us(&self) -> Option<u64> {
        self.next.as_ref().map(|next| next.began_us)
    }

    /// Asks for rewrites that are due; syncs what is there of a running one.
    pub(super) fn rewrite_cron(&mut self, core: &mut Core) {
        let now_us = core.now.mono_us;
        let is_early = self.rewrites.failed.as_ref().is_some_and(|(_, due_us)| *due_us > now_us);
        if let Some(next) = &mut self.next {
            next.sync(core);
            if !is_early {
                next.replace_again(core, self.manifest.as_ref());
            }
            return;
        }
        if is_early {
            return;
        }
        let is_broken = self.log().is_some_and(|log| log.sync_error.is_some());
        if is_broken || (self.status() == Status::Starting && self.log().is_none()) {
            self.rewrites.is_wanted = true;
        } else if self.status() == Status::On && !self.rewrites.is_wanted && self.has_grown(core) {
            let growth = self.rewrites.growth(self.size());
            core.log(
                Level::Notice,
                format!("Starting automatic rewriting of AOF on {growth}% growth"),
            );
            self.rewrites.is_wanted = true;
        }
    }

    fn has_grown(&self, core: &Core) -> bool {
        let (size, percentage) = (self.size(), core.config.auto_aof_rewrite_percentage);
        percentage > 0
            && size > core.config.auto_aof_rewrite_min_size
            && self.rewrites.growth(size) >= u64::from(percentage)
    }
}
