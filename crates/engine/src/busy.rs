//! Activities that block commands, and which commands are admitted meanwhile.
//!
//! An *activity* is work that spans several turns: a load, a script, an EXEC that waits for a
//! request. While one is running, a command is admitted, refused with an error, or held: it stays
//! unread in its client's buffer until the activity ends.
//!
//! | activity | commands meanwhile |
//! |---|---|
//! | loading at the start | refused with LOADING, but for those with the flag `loading` |
//! | all others | held: the activity is atomic, so nobody may see a partial state |

use russet_protocol::ErrorReply;

use crate::command::flag;
use crate::ids::Handle;

/// The kind of an activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// Loading the dump file at the start.
    Loading,
    /// DEBUG SLEEP, which simulates a sleeping process.
    Sleep,
    /// DEBUG RELOAD.
    Reload,
    /// An incomplete EXEC: a command waits for a request, or the time of its turn is used up.
    Exec,
    /// A CONFIG SET in progress: nobody may see settings that are not applied yet.
    Settings,
    /// The process stops after a fatal error.
    Stopped,
}

impl With {
    /// Whether all clients are held meanwhile.
    fn holds_everybody(self) -> bool {
        self != With::Loading
    }
}

/// One activity.
#[derive(Clone, Copy, Debug)]
struct Activity {
    with: With,
    /// The client that started it.
    who: Option<Handle>,
}

/// The running activities.
#[derive(Debug, Default)]
pub struct Busy {
    activities: Vec<Activity>,
    /// Whether some of them hold all clients.
    holds: bool,
}

impl Busy {
    /// Starts an activity.
    pub fn begin(&mut self, with: With, who: Option<Handle>) {
        self.end(with);
        self.activities.push(Activity { with, who });
        self.holds |= with.holds_everybody();
    }

    /// Ends an activity and returns the client that started it.
    pub fn end(&mut self, with: With) -> Option<Handle> {
        let at = self.activities.iter().position(|activity| activity.with == with)?;
        let ended = self.activities.remove(at);
        self.holds = self.activities.iter().any(|activity| activity.with.holds_everybody());
        ended.who
    }

    /// Whether an activity of this kind is running.
    pub fn is(&self, with: With) -> bool {
        self.activities.iter().any(|activity| activity.with == with)
    }

    /// Returns the client that started an activity of this kind.
    pub fn who(&self, with: With) -> Option<Handle> {
        self.activities.iter().find(|activity| activity.with == with)?.who
    }

    /// Whether all clients are held now.
    #[inline]
    pub fn holds_everybody(&self) -> bool {
        self.holds
    }

    /// Checks whether an activity refuses a command. `permits`: the flags of the command; for EXEC,
    /// those that all queued commands have in common.
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
