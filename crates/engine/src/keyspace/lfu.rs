//! LFU counters, which replace the access clock of entries under an LFU policy.
//!
//! ```text
//!    23                       8 7              0
//!   ┌──────────────────────────┬────────────────┐
//!   │ minutes of the last use  │ logarithmic    │     the 24 bits of an entry under an LFU policy;
//!   │ (wall clock)             │ counter        │     otherwise the seconds of the last use
//!   └──────────────────────────┴────────────────┘
//! ```
//!
//! It is a Morris counter: an access increments a counter that is n above its initial value with
//! probability 1 / (n × log_factor + 1), and every `decay_minutes` without access decrement it by
//! one. After a change of the policy, the bits of an entry are misinterpreted until its next
//! access, as in Redis.

use russet_ds::EntryRef;

use super::{Key, Keyspace};
use crate::config::Config;
use crate::config::value::EvictionPolicy;
use crate::rdb::Access;
use crate::types::Object;

/// Initial counter of a new key: above zero, so that it is not evicted first.
const INITIAL: u8 = 5;

/// Maximum of the access clock of 24 bits, and so the maximum idle time in seconds.
const CLOCK_MAX: u64 = 0xff_ffff;

/// Parameters of LFU counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lfu {
    /// The higher, the more slowly counters grow (`lfu-log-factor`).
    pub log_factor: u32,
    /// Minutes without access that decrement a counter; 0: never (`lfu-decay-time`).
    pub decay_minutes: u32,
}

impl Lfu {
    /// Returns the counter after its decay since the last access.
    fn decayed(self, clock: u32, minutes: u16) -> u8 {
        let idle = minutes.wrapping_sub((clock >> 8) as u16);
        let periods = u32::from(idle).checked_div(self.decay_minutes).unwrap_or(0);
        (clock as u8).saturating_sub(u8::try_from(periods).unwrap_or(u8::MAX))
    }

    /// Returns the counter after an access.
    fn incremented(self, counter: u8, draw: u64) -> u8 {
        let above = u64::from(counter.saturating_sub(INITIAL));
        let chances = above * u64::from(self.log_factor) + 1;
        counter.saturating_add(u8::from(draw.is_multiple_of(chances)))
    }
}

fn pack(minutes: u16, counter: u8) -> u32 {
    u32::from(minutes) << 8 | u32::from(counter)
}

impl Keyspace {
    /// Applies `maxmemory-policy` and the parameters of LFU.
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

    /// Returns the clock of a new entry.
    #[inline]
    pub(super) fn first_clock(&self) -> u32 {
        match self.lfu {
            None => self.clock,
            Some(_) => pack(self.minutes(), INITIAL),
        }
    }

    /// Returns the clock for the usage in a file or RESTORE, or that of a new entry if the policy
    /// uses the other kind.
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

    /// Returns the clock of a key's entry after an access, or that of a new entry.
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
                pack(minutes, lfu.incremented(counter, self.rng.draw()))
            }
        }
    }

    /// Returns the LFU counter of an entry; none under other policies.
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
    fn counters_decay_without_access_and_the_clock_may_wrap() {
        for (last, now, expected) in
            [(100, 100, 50), (100, 101, 50), (100, 104, 48), (100, 300, 0), (65_535, 3, 48)]
        {
            assert_eq!(LFU.decayed(pack(last, 50), now), expected, "{last} {now}");
        }
        let never = Lfu { decay_minutes: 0, ..LFU };
        assert_eq!(never.decayed(pack(0, 50), 60_000), 50);
    }

    #[test]
    fn higher_counters_grow_with_lower_probability() {
        assert_eq!(LFU.incremented(INITIAL, 7), INITIAL + 1);
        assert_eq!(LFU.incremented(0, 7), 1);
        // A counter that is 100 above its initial value grows with a probability of 1 in 1001.
        let grows = |draw: &u64| LFU.incremented(INITIAL + 100, *draw) > INITIAL + 100;
        assert_eq!((0..10_010).filter(grows).count(), 10);
        assert_eq!(LFU.incremented(u8::MAX, 0), u8::MAX);
    }
}
