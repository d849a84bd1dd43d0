//! Settings that change while the node runs: who may change them, and what follows.
//!
//! CONFIG SET is all or nothing. The new values are taken on at once; then the shell is asked, one step after another, for
//! what only it can do (listen elsewhere, change the folder). A step that fails takes the steps
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

use crate::client::Waiting;
use crate::command::{Command, Protection};
use crate::config::directives::Ask;
use crate::config::value::{EvictionPolicy, LogLevel};
use crate::config::{AppliedChanges, Apply, Config, Directive, SetContext, SetError, allows};
use crate::io::{AskId, Endpoints, Handle, Level, Output, Request};
use crate::keyspace::lfu::Lfu;
use crate::node::{Node, Standstill};
use crate::timers::Timer;

/// A CONFIG SET on its way through the shell. See the module.
#[derive(Debug)]
pub(crate) struct SettingsChange {
    changes: AppliedChanges,
    steps: Vec<Step>,
    /// Steps that are done and not undone.
    done: usize,
    /// Which directive's step failed, and why.
    failed: Option<SetError>,
}

/// What the shell is asked to do for some directives.
#[derive(Debug)]
struct Step {
    row: &'static Directive,
    forth: Request,
    back: Request,
    /// The reason that clients are told in place of the shell's, which is logged.
    told: Option<&'static str>,
}

/// A question that is open.
#[derive(Debug)]
pub(crate) struct Asked {
    ask: AskId,
    client: Handle,
    about: About,
}

/// What a question is about, and so what its answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Settings,
    Rewrite,
    Other,
}

/// What an answer leads to.
enum Next {
    Ask(Request),
    Reply(Result<(), ErrorReply>),
}

impl Node {
    /// What CONFIG SET and protected commands must know of their caller.
    pub(crate) fn set_context(&self, handle: Handle) -> SetContext {
        let is_local = self.clients.get(handle).is_some_and(|client| match &client.ends {
            Endpoints::Tcp { peer, .. } => peer.ip().to_canonical().is_loopback(),
            Endpoints::Unix(_) => true,
        });
        SetContext { loading: self.persist.is_loading(), is_local }
    }

    /// Whether a client may run a command that is switched off by default.
    pub(crate) fn admit_protected(
        &self,
        handle: Handle,
        command: &Command,
        protection: &Protection,
    ) -> Result<(), ErrorReply> {
        if allows((protection.allowed)(&self.config), self.set_context(handle)) {
            return Ok(());
        }
        let (name, directive) = (command.name.to_uppercase(), protection.directive);
        Err(ErrorReply::err(format!(
            "{name} command not allowed. If the {directive} option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server."
        )))
    }

    /// CONFIG SET has changed the values. The first thing to ask of the shell; none if all is in force.
    pub(crate) fn begin_settings_change(&mut self, changes: AppliedChanges) -> Option<Request> {
        let steps = steps(&changes, &self.config);
        let first = steps.first().map(|step| step.forth.clone());
        let change = SettingsChange { changes, steps, done: 0, failed: None };
        if first.is_some() {
            self.settings_change = Some(change);
        } else {
            self.put_in_force(&change.changes);
        }
        first
    }

    /// The shell has answered a step of a change.
    fn go_on_with_settings(&mut self, answer: Result<(), String>) -> Next {
        let Some(mut change) = self.settings_change.take() else { return Next::Reply(Ok(())) };
        match (&change.failed, answer) {
            (None, Ok(())) => {
                change.done += 1;
                if let Some(step) = change.steps.get(change.done) {
                    let request = step.forth.clone();
                    self.settings_change = Some(change);
                    return Next::Ask(request);
                }
                self.put_in_force(&change.changes);
                return Next::Reply(Ok(()));
            }
            (None, Err(why)) => {
                let step = &change.steps[change.done];
                let row = step.row;
                change.failed = Some(SetError::not_applied(row, step.told.unwrap_or(&why)));
                self.log(Level::Warning, format!("Failed applying new configuration. Possibly related to new {} setting: {why}. Restoring previous settings.", row.name));
            }
            (Some(_), answer) => {
                change.done -= 1;
                if let Err(why) = answer {
                    let name = change.steps[change.done].row.name;
                    let text = format!("The previous {name} setting could not be restored: {why}");
                    self.log(Level::Warning, text);
                }
            }
        }
        if let Some(step) = change.done.checked_sub(1).and_then(|at| change.steps.get(at)) {
            let request = step.back.clone();
            self.settings_change = Some(change);
            return Next::Ask(request);
        }
        self.config.roll_back(&change.changes);
        let error = change.failed.map_or(ErrorReply::Syntax, ErrorReply::err);
        Next::Reply(Err(error))
    }

    /// What the engine must do about values that are in force now.
    fn put_in_force(&mut self, changes: &AppliedChanges) {
        for warning in &changes.warnings {
            self.log(Level::Warning, warning.as_str());
        }
        for row in &changes.changed {
            if let Apply::Engine(act) = row.apply {
                act(self);
            }
        }
    }

    /// `maxmemory-policy` and what tunes LFU: whether use is counted, and how.
    pub(crate) fn use_counting_changed(&mut self) {
        let lfu = Lfu {
            log_factor: self.config.lfu_log_factor,
            decay_minutes: self.config.lfu_decay_time,
        };
        let policy = self.config.maxmemory_policy;
        let counts = matches!(policy, EvictionPolicy::VolatileLfu | EvictionPolicy::AllkeysLfu);
        self.keyspace.lfu = counts.then_some(lfu);
    }

    /// `hz`: the next round comes at the new pace.
    pub(crate) fn pace_changed(&mut self) {
        self.timers.set(Timer::Cron, self.now.mono_us);
    }

    /// `repl-backlog-size`.
    pub(crate) fn resize_backlog(&mut self) {
        let size = usize::try_from(self.config.repl_backlog_size).unwrap_or(usize::MAX);
        if let Some(backlog) = &mut self.repl.backlog {
            backlog.resize(size);
        }
    }

    /// `requirepass`: without a password everybody is the default user.
    pub(crate) fn password_changed(&mut self) {
        if self.config.requirepass.is_empty() {
            self.clients.iter_mut().for_each(|client| client.authenticated = true);
        }
    }

    /// Asks the world on a client's behalf, and makes it wait for the answer.
    pub(crate) fn ask(&mut self, client: Handle, request: Request) {
        let about = match request {
            Request::RewriteConfig(_) => About::Rewrite,
            _ if self.settings_change.is_some() => About::Settings,
            _ => About::Other,
        };
        if self.clients.get(client).is_some_and(|c| c.transaction.running) {
            self.standstill = Some(Standstill::Exec(client));
        } else if about == About::Settings {
            self.standstill = Some(Standstill::Settings(client));
        }
        self.last_ask += 1;
        let ask = AskId(self.last_ask);
        self.asked.push(Asked { ask, client, about });
        self.block(client, Waiting::Answer(ask), None);
        self.output(Output::Ask { ask, request });
    }

    /// Asks the world on the node's own behalf. Nobody waits for the answer; what went wrong is logged.
    pub(crate) fn request(&mut self, request: Request) {
        self.last_ask += 1;
        self.output(Output::Ask { ask: AskId(self.last_ask), request });
    }

    /// The world answered a command's question. Whoever asked may be gone; the answer counts all the same.
    pub(crate) fn answered(&mut self, ask: AskId, answer: Result<(), String>) {
        let Some(at) = self.asked.iter().position(|asked| asked.ask == ask) else {
            if let Err(why) = answer {
                self.log(Level::Warning, format!("What was asked of the system failed: {why}"));
            }
            return;
        };
        let Asked { client, about, .. } = self.asked.remove(at);
        let next = match about {
            About::Settings => self.go_on_with_settings(answer),
            About::Rewrite => Next::Reply(self.rewritten(answer)),
            About::Other => Next::Reply(answer.map_err(ErrorReply::err)),
        };
        let result = match next {
            Next::Ask(request) => return self.ask(client, request),
            Next::Reply(result) => result,
        };
        if matches!(self.standstill, Some(Standstill::Settings(h) | Standstill::Exec(h)) if h == client)
        {
            self.standstill = None;
        }
        match result {
            Ok(()) => self.with_reply(client, |_, reply| reply.ok()),
            Err(error) => self.reply_error(client, &error),
        }
        self.resume(client);
        self.go_on_with_exec(client);
    }

    fn rewritten(&mut self, answer: Result<(), String>) -> Result<(), ErrorReply> {
        match answer {
            Ok(()) => {
                self.log(Level::Notice, "CONFIG REWRITE executed with success.");
                Ok(())
            }
            Err(why) => {
                self.log(Level::Warning, format!("CONFIG REWRITE failed: {why}"));
                Err(ErrorReply::err(format!("Rewriting config file: {why}")))
            }
        }
    }
}

/// What the shell must do about a change, in the order in which the directives were given.
fn steps(changes: &AppliedChanges, next: &Config) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for &row in &changes.changed {
        let Apply::Shell(Ask { request, told }) = row.apply else { continue };
        let (forth, back) = (request(next), request(changes.previous()));
        // One request may serve two directives, as that of `bind` and `port` does.
        if !steps.iter().any(|step| step.forth == forth) {
            steps.push(Step { row, forth, back, told });
        }
    }
    steps
}

/// Rows of the table: what `bind` and `port` ask of the shell.
pub(crate) fn listen(config: &Config) -> Request {
    Request::Listen {
        bind: config.bind.0.iter().map(|address| text(address)).collect(),
        port: config.port,
    }
}

/// Rows of the table: what `loglevel` asks of the shell.
pub(crate) fn log_to(config: &Config) -> Request {
    Request::LogTo { path: text(&config.logfile), level: level_of(config.loglevel) }
}

/// A name or a path as text. Rows of such values let nothing else in (`config/check.rs`).
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn level_of(level: LogLevel) -> Option<Level> {
    Some(match level {
        LogLevel::Debug => Level::Debug,
        LogLevel::Verbose => Level::Verbose,
        LogLevel::Notice => Level::Notice,
        LogLevel::Warning => Level::Warning,
        LogLevel::Nothing => return None,
    })
}
