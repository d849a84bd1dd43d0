//! CONFIG SET, and other requests to the driver that a command waits for.
//!
//! CONFIG SET is atomic. The new values are set at once; then the driver applies those that need it
//! (listeners, working directory), one request after another. If one fails, the earlier ones are
//! reverted in reverse order and the old values restored:
//!
//! ```text
//!   set values ─▶ step 1 ─▶ step 2 ─▶ step 3 ─▶ applied: hooks of the engine run
//!                             │ fails
//!              revert 1 ◀─────┘
//!   restore values
//! ```
//!
//! All clients are held meanwhile, so that none sees settings that are not applied.

use russet_protocol::ErrorReply;

use crate::busy::{Activity, Busy};
use crate::clients::{Clients, Waiting};
use crate::config::apply::ShellStep;
use crate::config::{AppliedChanges, Config, Directive, SetError};
use crate::core::{Answer, Core, Order};
use crate::ids::{Handle, RequestId};
use crate::io::{Level, Request};

/// A CONFIG SET that waits for the driver.
#[derive(Debug)]
struct SettingsChange {
    changes: AppliedChanges,
    steps: Vec<Step>,
    /// Number of steps that are applied and not reverted.
    done: usize,
    /// The error of the failed step.
    failed: Option<SetError>,
}

/// A request to the driver that applies one or more directives.
#[derive(Debug)]
struct Step {
    row: &'static Directive,
    apply: Request,
    revert: Request,
    /// The error shown to clients instead of the driver's, which is logged.
    shown: Option<&'static str>,
}

/// A pending request of a client.
#[derive(Debug)]
struct Pending {
    id: RequestId,
    client: Handle,
    kind: RequestKind,
}

/// The kind of a request, which determines how its answer is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestKind {
    Settings,
    Rewrite,
    Other,
}

/// The next action after an answer.
enum Next {
    Request(Request),
    Reply(Result<(), ErrorReply>),
}

/// The running CONFIG SET and the pending requests of clients.
#[derive(Debug, Default)]
pub struct Settings {
    change: Option<SettingsChange>,
    pending: Vec<Pending>,
}

impl Settings {
    /// Applies the values set by CONFIG SET. Returns the first request to the driver; none if
    /// everything is applied.
    pub(crate) fn begin_change(
        &mut self,
        core: &mut Core,
        changes: AppliedChanges,
    ) -> Option<Request> {
        let steps = steps(&changes, &core.config);
        let first = steps.first().map(|step| step.apply.clone());
        let change = SettingsChange { changes, steps, done: 0, failed: None };
        if first.is_some() {
            self.change = Some(change);
        } else {
            run_hooks(core, &change.changes);
        }
        first
    }

    /// Continues a change after the answer to a step.
    fn continue_change(&mut self, core: &mut Core, answer: Result<(), String>) -> Next {
        let Some(mut change) = self.change.take() else { return Next::Reply(Ok(())) };
        match (&change.failed, answer) {
            (None, Ok(())) => {
                change.done += 1;
                if let Some(step) = change.steps.get(change.done) {
                    let request = step.apply.clone();
                    self.change = Some(change);
                    return Next::Request(request);
                }
                run_hooks(core, &change.changes);
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
            let request = step.revert.clone();
            self.change = Some(change);
            return Next::Request(request);
        }
        core.config.roll_back(&change.changes);
        Next::Reply(Err(change.failed.map_or(ErrorReply::Syntax, ErrorReply::err)))
    }

    /// Sends a request of a client to the driver and blocks the client until it is answered.
    pub(crate) fn request(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        busy: &mut Busy,
        client: Handle,
        request: Request,
    ) {
        let kind = match request {
            Request::ReplaceFile { .. } => RequestKind::Rewrite,
            _ if self.change.is_some() => RequestKind::Settings,
            _ => RequestKind::Other,
        };
        if kind == RequestKind::Settings {
            busy.begin(Activity::Settings, Some(client));
        }
        let id = core.request(request);
        self.pending.push(Pending { id, client, kind });
        clients.block(core, client, Waiting::Answer(id), None);
    }

    /// Handles the answer to a request, even if its client has disconnected.
    pub(crate) fn answered(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        busy: &mut Busy,
        id: RequestId,
        answer: Result<(), String>,
    ) {
        let Some(at) = self.pending.iter().position(|pending| pending.id == id) else {
            if let Err(why) = answer {
                core.log(Level::Warning, format!("A request to the system failed: {why}"));
            }
            return;
        };
        let Pending { client, kind, .. } = self.pending.remove(at);
        let next = match kind {
            RequestKind::Settings => self.continue_change(core, answer),
            RequestKind::Rewrite => Next::Reply(rewritten(core, answer)),
            RequestKind::Other => Next::Reply(answer.map_err(ErrorReply::err)),
        };
        match next {
            Next::Request(request) => self.request(core, clients, busy, client, request),
            Next::Reply(result) => {
                if kind == RequestKind::Settings {
                    busy.end(Activity::Settings);
                }
                core.order(Order::Answer(client, Answer::from(result)));
            }
        }
    }
}

/// Runs the engine's hooks of the changed directives and logs warnings.
fn run_hooks(core: &mut Core, changes: &AppliedChanges) {
    for warning in &changes.warnings {
        core.log(Level::Warning, warning.as_str());
    }
    for row in &changes.changed {
        if let Some(hook) = row.apply.hook() {
            core.order(Order::Apply(hook));
        }
    }
}

/// Returns the reply of CONFIG REWRITE and logs its result.
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

/// Returns the steps of a change in the order of its directives.
fn steps(changes: &AppliedChanges, next: &Config) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for &row in &changes.changed {
        let Some(ShellStep { request, shown }) = row.apply.step() else { continue };
        let (apply, revert) = (request(next), request(changes.previous()));
        // Directives may share a request, as `bind` and `port` do.
        if !steps.iter().any(|step| step.apply == apply) {
            steps.push(Step { row, apply, revert, shown });
        }
    }
    steps
}
