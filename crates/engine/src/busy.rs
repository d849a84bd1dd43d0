//! Who is busy, with what, and which commands are admitted meanwhile.
//!
//! Most of what the node does fits between two commands. What does not is an *activity*: a load, a script, an EXEC that
//! waits for the world in its middle. While one is under way, a command is admitted, refused with an error, or held: it
//! stays unread in its client's buffer until the activity ends.
//!
//! | activity | commands meanwhile |
//! |---|---|
//! | loading at the start | refused with LOADING, but for those with the flag `loading` |
//! | all others | held: what runs is atomic, so nobody may look at half of it |

use russet_protocol::ErrorReply;

use crate::command::flag;
use crate::ids::Handle;

/// What somebody is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// The dump file is read at the start.
    Loading,
    /// DEBUG SLEEP: as if the process slept.
    Sleep,
    /// DEBUG RELOAD.
    Reload,
    /// An EXEC stands in its middle: a command waits for the world, or its turn was used up.
    Exec,
    /// A CONFIG SET is being carried out: nobody may see settings that are not in force.
    Settings,
    /// The process ends, since the node can't be what it should be.
    Stopped,
}

impl With {
    /// Whether nobody is served meanwhile.
    fn holds_everybody(self) -> bool {
        self != With::Loading
    }
}

/// One activity.
#[derive(Clone, Copy, Debug)]
struct Activity {
    with: With,
    /// The client that began it.
    who: Option<Handle>,
}

/// The activities under way. See the module.
#[derive(Debug, Default)]
pub struct Busy {
    activities: Vec<Activity>,
    /// Some of them hold everybody.
    holds: bool,
}

impl Busy {
    /// An activity begins.
    pub fn begin(&mut self, with: With, who: Option<Handle>) {
        self.end(with);
        self.activities.push(Activity { with, who });
        self.holds |= with.holds_everybody();
    }

    /// An activity ends. Answers who began it.
    pub fn end(&mut self, with: With) -> Option<Handle> {
        let at = self.activities.iter().position(|activity| activity.with == with)?;
        let ended = self.activities.remove(at);
        self.holds = self.activities.iter().any(|activity| activity.with.holds_everybody());
        ended.who
    }

    /// Whether such an activity is under way.
    pub fn is(&self, with: With) -> bool {
        self.activities.iter().any(|activity| activity.with == with)
    }

    /// The client that began such an activity.
    pub fn who(&self, with: With) -> Option<Handle> {
        self.activities.iter().find(|activity| activity.with == with)?.who
    }

    /// Whether nobody is served now.
    #[inline]
    pub fn holds_everybody(&self) -> bool {
        self.holds
    }

    /// Whether a command may run as far as activities go that refuse instead of holding. `permits`: the flags of the
    /// command; of an EXEC, those that all queued commands have too.
    #[inline]
    pub fn admit(&self, permits: u64) -> Result<(), ErrorReply> {
        if !self.activities.is_empty() && self.is(With::Loading) && permits & flag::LOADING == 0 {
            return Err(ErrorReply::Loading);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activities_overlap_and_end_each_for_itself() {
        let mut busy = Busy::default();
        let client = Handle { index: 1, generation: 0 };
        busy.begin(With::Loading, None);
        assert!(
            !busy.holds_everybody() && busy.admit(0).is_err() && busy.admit(flag::LOADING).is_ok()
        );
        busy.begin(With::Sleep, Some(client));
        busy.begin(With::Exec, Some(client));
        assert_eq!(busy.end(With::Sleep), Some(client));
        assert!(busy.holds_everybody() && busy.who(With::Exec) == Some(client));
        busy.end(With::Exec);
        assert!(!busy.holds_everybody());
        busy.end(With::Loading);
        assert!(busy.admit(0).is_ok());
    }
}
