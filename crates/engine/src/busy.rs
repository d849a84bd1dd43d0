//! Activities that block commands, and which commands are admitted meanwhile.
//!
//! An *activity* is work that spans several turns: a load, a script, an EXEC that waits for a
//! request. While one is running, a command is admitted, refused with an error, or held: it stays
//! unread in its client's buffer until the activity ends.
//!
//! | activity | commands meanwhile |
//! |---|---|
//! | loading at the start | refused with LOADING, but for those with the flag `loading` |
//! | MIGRATE | held if they may touch its keys, the role or all data ([`crate::migrate`]) |
//! | after the order to exit | held: what was answered now would be lost |
//! | all others | held: the activity is atomic, so nobody may see a partial state |

use russet_protocol::ErrorReply;

use crate::command::flag;
use crate::ids::Handle;

/// The kind of an activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
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
    /// A MIGRATE in progress.
    Migrate,
    /// The exit of the process has been ordered.
    Stopped,
}

impl Activity {
    /// Whether all clients are held meanwhile.
    fn holds_all(self) -> bool {
        !matches!(self, Activity::Loading | Activity::Migrate)
    }
}

/// A running activity.
#[derive(Clone, Copy, Debug)]
struct Running {
    activity: Activity,
    /// The client that started it.
    client: Option<Handle>,
}

/// The running activities.
#[derive(Debug, Default)]
pub struct Busy {
    activities: Vec<Running>,
    /// Whether some of them hold all clients.
    holds: bool,
}

impl Busy {
    /// Starts an activity.
    pub fn begin(&mut self, activity: Activity, client: Option<Handle>) {
        self.end(activity);
        self.activities.push(Running { activity, client });
        self.holds |= activity.holds_all();
    }

    /// Ends an activity and returns the client that started it.
    pub fn end(&mut self, activity: Activity) -> Option<Handle> {
        let at = self.activities.iter().position(|running| running.activity == activity)?;
        let ended = self.activities.remove(at);
        self.holds = self.activities.iter().any(|running| running.activity.holds_all());
        ended.client
    }

    /// Whether an activity is running.
    pub fn is(&self, activity: Activity) -> bool {
        self.activities.iter().any(|running| running.activity == activity)
    }

    /// Returns the client that started a running activity.
    pub fn client_of(&self, activity: Activity) -> Option<Handle> {
        self.activities.iter().find(|running| running.activity == activity)?.client
    }

    /// Whether all clients are held now.
    #[inline]
    pub fn holds_all(&self) -> bool {
        self.holds
    }

    /// Whether the data or the settings are in the middle of a change that has to be seen as a whole:
    /// an EXEC, or a CONFIG SET. No snapshot may begin meanwhile.
    pub fn is_mid_change(&self) -> bool {
        self.is(Activity::Exec) || self.is(Activity::Settings)
    }

    /// Checks whether an activity refuses a command. `permits`: the flags of the command; for EXEC,
    /// those that all queued commands have in common.
    #[inline]
    pub fn admit(&self, permits: u64) -> Result<(), ErrorReply> {
        if !self.activities.is_empty() && self.is(Activity::Loading) && permits & flag::LOADING == 0
        {
            return Err(ErrorReply::Loading);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activities_overlap_and_end_independently() {
        let mut busy = Busy::default();
        let client = Handle { index: 1, generation: 0 };
        busy.begin(Activity::Loading, None);
        assert!(!busy.holds_all() && busy.admit(0).is_err() && busy.admit(flag::LOADING).is_ok());
        busy.begin(Activity::Sleep, Some(client));
        busy.begin(Activity::Exec, Some(client));
        assert_eq!(busy.end(Activity::Sleep), Some(client));
        assert!(busy.holds_all() && busy.client_of(Activity::Exec) == Some(client));
        busy.end(Activity::Exec);
        assert!(!busy.holds_all());
        busy.end(Activity::Loading);
        assert!(busy.admit(0).is_ok());
    }
}
