//! When and why writes are refused because of the append-only file.

use std::borrow::Cow;

use super::append::AppendLog;
use super::files::{Aof, PERIOD_US, Status};
use crate::config::value::AppendFsync;
use crate::core::Core;

/// Writes are refused while a batch has waited longer than this to be as safe as `appendfsync` promises, beyond the
/// second of `everysec`: a disk that is slower than the clients would else delay their replies more and more, and what a
/// loss of power costs would have no bound.
const LAG_US_MAX: u64 = 10_000_000;

/// Writes are refused while more bytes than this wait to be written.
const UNWRITTEN_BYTES_MAX: u64 = 256 << 20;

impl Aof {
    /// Finds out whether writes are to be refused.
    pub(super) fn note_refusal(&mut self, core: &Core) {
        self.refusal = self.find_refusal(core);
    }

    fn find_refusal(&self, core: &Core) -> Option<String> {
        if self.status() == Status::Starting {
            return self.rewrites.failure().map(str::to_owned);
        }
        if let Some(why) = self.found_logs().find_map(AppendLog::error) {
            return Some(why.to_owned());
        }
        let most = LAG_US_MAX + if self.policy() == AppendFsync::Everysec { PERIOD_US } else { 0 };
        let now_us = core.now.mono_us;
        let lag_us = self.found_logs().map(|log| log.lag_us(self.policy(), now_us)).max()?;
        let what = if self.policy() == AppendFsync::No { "written" } else { "synced" };
        (lag_us > most).then(|| {
            format!("the disk is too slow: what was {what} last is {} s old", lag_us / 1_000_000)
        })
    }

    /// Returns why writes are refused, if they are.
    #[inline]
    pub(crate) fn refusal(&self) -> Option<Cow<'_, str>> {
        if let Some(why) = &self.refusal {
            return Some(why.into());
        }
        let next = self.next.as_ref().and_then(|next| next.log.as_ref());
        let bytes = self.log.iter().chain(next).map(AppendLog::unwritten_bytes).max()?;
        (bytes > UNWRITTEN_BYTES_MAX)
            .then(|| format!("the disk is too slow: {} MB wait to be written", bytes >> 20).into())
    }
}
