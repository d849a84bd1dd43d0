//! Settings that change while the node runs, and other requests to the world that a command waits for.
//!
//! CONFIG SET is all or nothing. The new values are taken on at once; then the shell is requested to do, one step after
//! another, what only it can do (listen elsewhere, change the folder). A step that fails takes the steps
//! before it back, in reverse, and the old values return:
//!
//! ```text
//!   take on ─▶ step 1 ─▶ step 2 ─▶ step 3 ─▶ in force: what the engine itself must do is done
//!                          │ fails
//!              undo 1 ◀────┘
//!   old values return
//! ```
//!
//! Nobody is served meanwhile, so nobody sees settings that are not in force.

use russet_protocol::ErrorReply;

use crate::busy::{Busy, With};
use crate::clients::{Clients, Waiting};
use crate::config::apply::ShellStep;
use crate::config::{AppliedChanges, Apply, Config, Directive, SetError};
use crate::core::{Answer, Core, Order};
use crate::ids::{Handle, RequestId};
use crate::io::{Level, Request};

/// A CONFIG SET that waits for requests to the driver.
#[derive(Debug)]
struct SettingsChange {
    changes: AppliedChanges,
    steps: Vec<Step>,
    /// Steps that are done and not undone.
    done: usize,
    /// Which directive's step failed, and why.
    failed: Option<SetError>,
}

/// What the shell is requested to do for some directives.
#[derive(Debug)]
struct Step {
    row: &'static Directive,
    forth: Request,
    back: Request,
    /// The reason that clients see in place of the shell's, which is logged.
    shown: Option<&'static str>,
}

/// A request that is open.
#[derive(Debug)]
struct Open {
    id: RequestId,
    client: Handle,
    about: About,
}

/// What a request is about, and so what its answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Settings,
    Rewrite,
    Other,
}

/// What an answer leads to.
enum Next {
    Request(Request),
    Reply(Result<(), ErrorReply>),
}

/// The running CONFIG SET, if any.
#[derive(Debug, Default)]
pub struct Settings {
    change: Option<SettingsChange>,
    open: Vec<Open>,
}

impl Settings {
    /// CONFIG SET has changed the values. The first thing to request of the shell; none if all is in force.
    pub(crate) fn begin_change(
        &mut self,
        core: &mut Core,
        changes: AppliedChanges,
    ) -> Option<Request> {
        let steps = steps(&changes, &core.config);
        let first = steps.first().map(|step| step.forth.clone());
        let change = SettingsChange { changes, steps, done: 0, failed: None };
        if first.is_some() {
            self.change = Some(change);
        } else {
            put_in_force(core, &change.changes);
        }
        first
    }

    /// The shell has answered a step of a change.
    fn go_on(&mut self, core: &mut Core, answer: Result<(), String>) -> Next {
        let Some(mut change) = self.change.take() else { return Next::Reply(Ok(())) };
        match (&change.failed, answer) {
            (None, Ok(())) => {
                change.done += 1;
                if let Some(step) = change.steps.get(change.done) {
                    let request = step.forth.clone();
                    self.change = Some(change);
                    return Next::Request(request);
                }
                put_in_force(core, &change.changes);
                return Next::Reply(Ok(()));
            }
            (None, Err(why)) => {
                let step = &change.steps[change.done];
                let row = step.row;
                change.failed = Some(SetError::not_applied(row, step.shown.unwrap_or(&why)));
                core.log(Level::Warning, format!("Failed applying new configuration. Possibly related to new {} setting: {why}. Restoring previous settings.", row.name));
            }
            (Some(_), answer) => {
                change.done -= 1;
                if let Err(why) = answer {
                    let name = change.steps[change.done].row.name;
                    let text = format!("The previous {name} setting could not be restored: {why}");
                    core.log(Level::Warning, text);
                }
            }
        }
        if let Some(step) = change.done.checked_sub(1).and_then(|at| change.steps.get(at)) {
            let request = step.back.clone();
            self.change = Some(change);
            return Next::Request(request);
        }
        core.config.roll_back(&change.changes);
        Next::Reply(Err(change.failed.map_or(ErrorReply::Syntax, ErrorReply::err)))
    }

    /// Requests something of the world on a client's behalf, and makes it wait for the answer.
    pub(crate) fn request(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        busy: &mut Busy,
        client: Handle,
        request: Request,
    ) {
        let about = match request {
            Request::ReplaceFile { .. } => About::Rewrite,
            _ if self.change.is_some() => About::Settings,
            _ => About::Other,
        };
        if about == About::Settings {
            busy.begin(With::Settings, Some(client));
        }
        let id = core.request(request);
        self.open.push(Open { id, client, about });
        clients.block(core, client, Waiting::Answer(id), None);
    }

    /// The world answered a request. The client may be gone; the answer counts all the same.
    pub(crate) fn answered(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        busy: &mut Busy,
        id: RequestId,
        answer: Result<(), String>,
    ) {
        let Some(at) = self.open.iter().position(|open| open.id == id) else {
            if let Err(why) = answer {
                core.log(Level::Warning, format!("A request to the system failed: {why}"));
            }
            return;
        };
        let Open { client, about, .. } = self.open.remove(at);
        let next = match about {
            About::Settings => self.go_on(core, answer),
            About::Rewrite => Next::Reply(rewritten(core, answer)),
            About::Other => Next::Reply(answer.map_err(ErrorReply::err)),
        };
        match next {
            Next::Request(request) => self.request(core, clients, busy, client, request),
            Next::Reply(result) => {
                if about == About::Settings {
                    busy.end(With::Settings);
                }
                core.order(Order::Answer(client, Answer::from(result)));
            }
        }
    }
}

/// What the engine must do about values that are in force now.
fn put_in_force(core: &mut Core, changes: &AppliedChanges) {
    for warning in &changes.warnings {
        core.log(Level::Warning, warning.as_str());
    }
    for row in &changes.changed {
        if let Apply::Engine(hook) = row.apply {
            core.order(Order::Apply(hook));
        }
    }
}

fn rewritten(core: &mut Core, answer: Result<(), String>) -> Result<(), ErrorReply> {
    match answer {
        Ok(()) => {
            core.log(Level::Notice, "CONFIG REWRITE executed with success.");
            Ok(())
        }
        Err(why) => {
            core.log(Level::Warning, format!("CONFIG REWRITE failed: {why}"));
            Err(ErrorReply::err(format!("Rewriting config file: {why}")))
        }
    }
}

/// What the shell must do about a change, in the order in which the directives were given.
fn steps(changes: &AppliedChanges, next: &Config) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for &row in &changes.changed {
        let Apply::Shell(ShellStep { request, shown }) = row.apply else { continue };
        let (forth, back) = (request(next), request(changes.previous()));
        // One request may serve two directives, as that of `bind` and `port` does.
        if !steps.iter().any(|step| step.forth == forth) {
            steps.push(Step { row, forth, back, shown });
        }
    }
    steps
}
