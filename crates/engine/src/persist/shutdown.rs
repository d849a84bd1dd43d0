//! SHUTDOWN: replicas catch up, data is saved, the process ends. Any step may fail and undo the rest.

use russet_protocol::ErrorReply;

use crate::client::Waiting;
use crate::io::{Handle, Level, Output, Signal, Status};
use crate::node::Node;
use crate::pause::{PauseMode, PauseReason};
use crate::timers::Timer;

/// How to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownOptions {
    /// SAVE or NOSAVE; none: save if there are save points.
    pub save: Option<bool>,
    /// Do not wait for replicas.
    pub now: bool,
    /// End even if the save fails.
    pub force: bool,
}

/// An end under way.
#[derive(Debug)]
pub struct Shutdown {
    options: ShutdownOptions,
    /// Offset that the replicas are to reach; none once they have, or need not.
    awaits_replicas: bool,
}

impl Node {
    /// Whether the end has come so far that nothing new may begin but the final save.
    pub(crate) fn is_leaving(&self) -> bool {
        self.persist.shutdown.as_ref().is_some_and(|shutdown| !shutdown.awaits_replicas)
    }

    /// Starts to end. What can be known at once is answered at once.
    pub(crate) fn begin_shutdown(&mut self, options: ShutdownOptions) -> Result<(), ErrorReply> {
        if self.persist.shutdown.is_some() {
            return Ok(());
        }
        self.log(Level::Warning, "User requested shutdown...");
        self.output(Output::Status(Status::Stopping));
        let timeout_us = self.config.shutdown_timeout as u64 * 1_000_000;
        let wait = !options.now && timeout_us > 0 && self.lagging_replicas() > 0;
        self.persist.shutdown = Some(Shutdown { options, awaits_replicas: wait });
        if wait {
            self.pause_clients(PauseReason::Shutdown, PauseMode::Write, u64::MAX);
            self.ask_for_acks();
            self.timers.set(Timer::Shutdown, self.now.mono_us + timeout_us);
            self.log(Level::Notice, "Waiting for replicas before shutting down.");
            return Ok(());
        }
        self.log_replicas();
        self.shutdown_save();
        Ok(())
    }

    /// Replicas caught up, or time is over.
    pub(crate) fn check_shutdown(&mut self, time_over: bool) {
        let waits = self.persist.shutdown.as_ref().is_some_and(|s| s.awaits_replicas);
        let lagging = if waits { self.lagging_replicas() } else { 0 };
        if waits && (time_over || lagging == 0) {
            self.log_replicas();
            self.timers.stop(Timer::Shutdown);
            self.shutdown_save();
        }
    }

    /// Says what of the data the replicas have, for those who will look for a successor.
    fn log_replicas(&mut self) {
        let mut lagging = Vec::new();
        for client in self.repl.replicas().iter().filter_map(|&handle| self.clients.get(handle)) {
            let Some(state) = client.replica() else { continue };
            let behind = self.repl.offset().saturating_sub(state.acked);
            if behind != 0 {
                let (ip, port) = client.replica_address();
                let ip = if ip.contains(':') { format!("[{ip}]") } else { ip };
                let stage = state.stage_name();
                let lag = if stage == "online" { state.lag_secs(self.now.mono_us) } else { 0 };
                lagging.push(format!(
                    "Lagging replica {ip}:{port} reported offset {behind} behind master, \
                     lag={lag}, state={stage}."
                ));
            }
        }
        let count = self.repl.replicas().len();
        let in_sync = count - lagging.len();
        lagging.into_iter().for_each(|line| self.log(Level::Notice, line));
        if count > 0 {
            let text = format!("{in_sync} of {count} replicas are in sync when shutting down.");
            self.log(Level::Notice, text);
        }
    }

    fn shutdown_save(&mut self) {
        let Some(shutdown) = self.persist.shutdown.as_mut() else { return };
        shutdown.awaits_replicas = false;
        let save = shutdown.options.save.unwrap_or(!self.config.save.0.is_empty());
        // A save that began earlier would miss what was written since.
        if let Some(job) = self.persist.save().map(|save| save.job) {
            self.log(Level::Warning, "There is a child saving an .rdb. Killing it!");
            self.save_given_up(job, "the server is shutting down");
        }
        if !save || self.is_loading_at_start() {
            self.leave();
            return;
        }
        self.log(Level::Notice, "Saving the final RDB snapshot before exiting.");
        // A write that came in now would be acknowledged and lost.
        self.pause_clients(PauseReason::Shutdown, PauseMode::Write, u64::MAX);
        if let Err(error) = self.begin_save() {
            self.shutdown_saved(Err(error.to_string()));
        }
    }

    /// The final save was given up since its data was replaced: the new data is saved in its place.
    pub(crate) fn save_anew_for_shutdown(&mut self) {
        if self.is_leaving() {
            self.shutdown_save();
        }
    }

    /// The save that the end waits for is over.
    pub(crate) fn shutdown_saved(&mut self, result: Result<u64, String>) {
        let Some(shutdown) = self.persist.shutdown.as_ref() else { return };
        if shutdown.awaits_replicas {
            return;
        }
        if result.is_ok() || shutdown.options.force {
            self.leave();
            return;
        }
        self.log(Level::Warning, "Error trying to save the DB, can't exit.");
        self.undo_shutdown(&ErrorReply::err("Errors trying to SHUTDOWN. Check logs."));
    }

    fn leave(&mut self) {
        self.log(Level::Warning, "Redis is now ready to exit, bye bye...");
        self.output(Output::Exit(0));
    }

    /// SHUTDOWN ABORT, or a failed step. False if nothing was under way.
    pub(crate) fn undo_shutdown(&mut self, error: &ErrorReply) -> bool {
        if self.persist.shutdown.take().is_none() {
            return false;
        }
        self.output(Output::Status(Status::Staying));
        self.timers.stop(Timer::Shutdown);
        self.unpause_clients(PauseReason::Shutdown);
        let waits = |node: &Node, handle: Handle| {
            node.clients
                .get(handle)
                .and_then(|c| c.blocked.as_ref())
                .is_some_and(|blocked| matches!(blocked.waiting, Waiting::Shutdown))
        };
        for handle in self.clients.handles() {
            if waits(self, handle) {
                self.reply_error(handle, error);
                self.resume(handle);
            }
        }
        // What had to wait for the end may begin after all.
        self.save_for_reload();
        self.schedule_full_sync();
        true
    }

    /// The operating system asks for the end.
    pub(crate) fn signalled(&mut self, signal: Signal) {
        let (name, flags) = match signal {
            Signal::Terminate => ("SIGTERM", self.config.shutdown_on_sigterm),
            Signal::Interrupt => ("SIGINT", self.config.shutdown_on_sigint),
        };
        let options = ShutdownOptions {
            save: if flags.save { Some(true) } else { flags.nosave.then_some(false) },
            now: flags.now,
            force: flags.force,
        };
        self.log(Level::Warning, format!("Received {name} scheduling shutdown..."));
        if self.begin_shutdown(options).is_err() {
            self.log(Level::Warning, format!("{name} received but errors trying to shut down the server, check the logs for more information"));
        }
    }
}
