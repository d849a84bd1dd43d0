//! How often keys are used: the counter that an entry keeps in place of its access clock under an LFU policy.
//!
//! ```text
//!    23                       8 7              0
//!   ┌──────────────────────────┬────────────────┐
//!   │ minutes of the last use  │ logarithmic    │     the entry's 24 bits under an LFU policy;
//!   │ (of the wall clock)      │ use counter    │     else they are the seconds of the last use
//!   └──────────────────────────┴────────────────┘
//! ```
//!
//! The counter is Morris': a use raises a counter that is n above its start with a chance of 1 in `n × log_factor + 1`, and
//! every `decay_minutes` without use lower it by one. Where the policy changes the bits of old entries are read in the other way
//! until they are used again, as Redis does.

use russet_ds::EntryRef;

use super::{Key, Keyspace};
use crate::config::Config;
use crate::config::value::EvictionPolicy;
use crate::rdb::Access;
use crate::types::Object;

/// Where the counter of a new key begins, so that it is not the first to be evicted.
const INITIAL: u8 = 5;

/// The last second of a clock of 24 bits, and so the longest time without use.
const CLOCK_MAX: u64 = 0xff_ffff;

/// How use is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lfu {
    /// How slowly the counter grows.
    pub log_factor: u32,
    /// Minutes of rest that lower it by one; 0 for never.
    pub decay_minutes: u32,
}

impl Lfu {
    /// The counter as it is now, after the rest since its last use.
    fn decayed(self, clock: u32, minutes: u16) -> u8 {
        let rest = minutes.wrapping_sub((clock >> 8) as u16);
        let periods = u32::from(rest).checked_div(self.decay_minutes).unwrap_or(0);
        (clock as u8).saturating_sub(u8::try_from(periods).unwrap_or(u8::MAX))
    }

    /// The counter after a use.
    fn raised(self, counter: u8, draw: u64) -> u8 {
        let above = u64::from(counter.saturating_sub(INITIAL));
        let chances = above * u64::from(self.log_factor) + 1;
        counter.saturating_add(u8::from(draw.is_multiple_of(chances)))
    }
}

fn pack(minutes: u16, counter: u8) -> u32 {
    u32::from(minutes) << 8 | u32::from(counter)
}

impl Keyspace {
    /// `maxmemory-policy`, or what tunes LFU, has a value: whether use is counted, and how.
    pub(crate) fn set_policy(&mut self, config: &Config) {
        let counts = matches!(
            config.maxmemory_policy,
            EvictionPolicy::VolatileLfu | EvictionPolicy::AllkeysLfu
        );
        self.lfu = counts.then_some(Lfu {
            log_factor: config.lfu_log_factor,
            decay_minutes: config.lfu_decay_time,
        });
    }

    /// The clock of an entry that is new.
    #[inline]
    pub(super) fn first_clock(&self) -> u32 {
        match self.lfu {
            None => self.clock,
            Some(_) => pack(self.minutes(), INITIAL),
        }
    }

    /// The clock of an entry that was last used as a file or RESTORE says, as far as the policy counts that.
    #[inline]
    pub(crate) fn clock_of(&self, access: Access) -> u32 {
        match (self.lfu, access) {
            (None, Access { idle_seconds: Some(idle), .. }) => {
                self.clock.wrapping_sub(idle.min(CLOCK_MAX) as u32) & CLOCK_MAX as u32
            }
            (Some(_), Access { frequency: Some(counter), .. }) => pack(self.minutes(), counter),
            _ => self.first_clock(),
        }
    }

    /// The clock that the entry of a key gets by being used, or a new one by being made.
    #[inline]
    pub(super) fn clock_after_use(&mut self, db: u32, key: Key<'_>) -> u32 {
        match self.lfu {
            None => self.clock,
            Some(lfu) => self.count_use(lfu, db, key),
        }
    }

    #[cold]
    fn count_use(&mut self, lfu: Lfu, db: u32, key: Key<'_>) -> u32 {
        let minutes = self.minutes();
        match self.db(db).get(key).map(|entry| entry.clock()) {
            None => pack(minutes, INITIAL),
            Some(clock) => {
                let counter = lfu.decayed(clock, minutes);
                pack(minutes, lfu.raised(counter, self.rng.draw()))
            }
        }
    }

    /// The use counter of an entry, under an LFU policy.
    pub fn use_count(&self, entry: &EntryRef<'_, Object>) -> Option<u8> {
        self.lfu.map(|lfu| lfu.decayed(entry.clock(), self.minutes()))
    }

    fn minutes(&self) -> u16 {
        (self.now_ms / 60_000) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::{INITIAL, Lfu, pack};

    const LFU: Lfu = Lfu { log_factor: 10, decay_minutes: 2 };

    #[test]
    fn rest_lowers_the_counter_and_the_clock_may_wrap() {
        for (last, now, expected) in
            [(100, 100, 50), (100, 101, 50), (100, 104, 48), (100, 300, 0), (65_535, 3, 48)]
        {
            assert_eq!(LFU.decayed(pack(last, 50), now), expected, "{last} {now}");
        }
        let never = Lfu { decay_minutes: 0, ..LFU };
        assert_eq!(never.decayed(pack(0, 50), 60_000), 50);
    }

    #[test]
    fn the_more_uses_were_counted_the_fewer_count() {
        assert_eq!(LFU.raised(INITIAL, 7), INITIAL + 1);
        assert_eq!(LFU.raised(0, 7), 1);
        // 100 uses in all raise a counter that is 100 above its start by some tenth of one.
        let raises = (0..10_010).filter(|&draw| LFU.raised(INITIAL + 100, draw) > INITIAL + 100);
        assert_eq!(raises.count(), 10);
        assert_eq!(LFU.raised(u8::MAX, 0), u8::MAX);
    }
}
