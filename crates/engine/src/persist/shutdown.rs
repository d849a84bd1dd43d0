//! SHUTDOWN: hands over to a replica if that is wanted, waits for replicas, saves the data and exits. A failing step
//! cancels the shutdown, except that a master without a successor goes, too.

use russet_protocol::ErrorReply;

use super::aof::files::Aof;
use super::fill::StreamPosition;
use super::loading::Loading;
use super::saves::Saves;
use crate::clients::{Clients, Waiting};
use crate::core::{Answer, ClusterOrder, Core, Order};
use crate::ids::JobId;
use crate::io::{Level, Output, Signal, Status};
use crate::keyspace::Keyspace;
use crate::mode::Mode;
use crate::pause::{Pause, PauseMode, PauseReason};
use crate::repl::master::Master;
use crate::timers::Timer;

/// Why a shutdown is cancelled if its save fails.
const SAVE_FAILED: &str = "Error trying to save the DB, can't exit.";

/// Options of a shutdown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownOptions {
    /// SAVE or NOSAVE; none: save if save points are configured.
    pub save: Option<bool>,
    /// Whether not to wait for replicas.
    pub now: bool,
    /// Whether to exit even if the save fails.
    pub force: bool,
    /// Whether a master of a cluster lets a replica take over first.
    pub failover: bool,
}

/// A running shutdown.
#[derive(Clone, Copy, Debug)]
struct Running {
    options: ShutdownOptions,
    stage: Stage,
    /// Whether the final save has begun, or none is needed.
    is_saving: bool,
    /// The final save.
    job: Option<JobId>,
}

/// What a shutdown is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A replica is asked to take over.
    HandsOver,
    /// It waits for replicas.
    AwaitsReplicas,
    /// Nothing but the final save is left.
    Exits,
}

/// The state of a shutdown.
#[derive(Debug, Default)]
pub struct Shutdown {
    running: Option<Running>,
    /// A signal received while the cron, which acts on it, was paused for a test.
    pending: Option<Signal>,
}

impl Shutdown {
    /// Whether a shutdown is running.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether the shutdown is past waiting for replicas: nothing but its final save may start.
    pub fn is_exiting(&self) -> bool {
        self.running.as_ref().is_some_and(|shutdown| shutdown.stage == Stage::Exits)
    }

    /// Whether the final save has yet to begin.
    pub(crate) fn awaits_save(&self) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| running.stage == Stage::Exits && !running.is_saving)
    }

    /// Starts a shutdown.
    pub(crate) fn begin(
        &mut self,
        core: &mut Core,
        pause: &mut Pause,
        master: &mut Master,
        options: ShutdownOptions,
    ) {
        if self.running.is_some() {
            return;
        }
        core.log(Level::Warning, "User requested shutdown...");
        core.output(Output::Status(Status::Stopping));
        let stage = Stage::HandsOver;
        self.running = Some(Running { options, stage, is_saving: false, job: None });
        if !options.failover {
            return self.handed_over(core, pause, master);
        }
        if core.boot.mode != Mode::Cluster {
            core.log(Level::Notice, "Nobody takes over: this is not a node of a cluster.");
            return self.handed_over(core, pause, master);
        }
        let timeout_us = match timeout_us(core) {
            0 => u64::from(core.config.cluster_manual_failover_timeout) * 1000,
            timeout_us => timeout_us,
        };
        core.order(Order::Cluster(ClusterOrder::HandOver(timeout_us)));
    }

    /// Proceeds when a replica has taken over, or none was to.
    pub(crate) fn handed_over(&mut self, core: &mut Core, pause: &mut Pause, master: &mut Master) {
        let Some(shutdown) = self.running.as_mut().filter(|it| it.stage == Stage::HandsOver) else {
            return;
        };
        let timeout_us = timeout_us(core);
        let waits = !shutdown.options.now && timeout_us > 0 && master.lagging_replicas() > 0;
        shutdown.stage = if waits { Stage::AwaitsReplicas } else { Stage::Exits };
        if waits {
            pause.begin(core, PauseReason::Shutdown, PauseMode::Write, u64::MAX);
            master.request_acks();
            core.timers.set(Timer::Shutdown, core.now.mono_us + timeout_us);
            core.log(Level::Notice, "Waiting for replicas before shutting down.");
            return;
        }
        log_replicas(core, master);
        core.order(Order::FinalSave);
    }

    /// Proceeds with the shutdown if replicas have caught up or its timeout has passed.
    pub(crate) fn check(&mut self, core: &mut Core, master: &Master, is_time_over: bool) {
        let Some(shutdown) = &mut self.running else { return };
        if shutdown.stage == Stage::AwaitsReplicas
            && (is_time_over || master.lagging_replicas() == 0)
        {
            shutdown.stage = Stage::Exits;
            log_replicas(core, master);
            core.timers.stop(Timer::Shutdown);
            core.order(Order::FinalSave);
        }
    }

    /// Starts the final save if one is needed.
    pub(crate) fn save(
        &mut self,
        core: &mut Core,
        data: &mut Keyspace,
        pause: &mut Pause,
        (saves, loading, aof): (&mut Saves, &Loading, &Aof),
        position: Option<StreamPosition>,
    ) {
        let Some(shutdown) = &mut self.running else { return };
        shutdown.is_saving = true;
        // The append-only file does not have all data yet, and at the next start it would be loaded.
        if aof.is_beginning() {
            if !shutdown.options.force {
                return core.order(Order::FinalSaveFailed("Writing initial AOF, can't exit."));
            }
            core.log(Level::Warning, "Writing initial AOF. Exit anyway.");
        }
        let is_sentinel = core.boot.mode == Mode::Sentinel;
        let save = !is_sentinel && shutdown.options.save.unwrap_or(!core.config.save.0.is_empty());
        // A save that started earlier lacks later writes.
        if let Some(job) = saves.current().map(|save| save.job) {
            core.log(Level::Warning, "There is a child saving an .rdb. Killing it!");
            saves.abort(core, data, job, "the server is shutting down");
        }
        if !save || loading.is_loading_at_start() {
            exit(core);
            return;
        }
        core.log(Level::Notice, "Saving the final RDB snapshot before exiting.");
        // A write accepted now would be acknowledged and lost.
        pause.begin(core, PauseReason::Shutdown, PauseMode::Write, u64::MAX);
        match saves.begin(core, data, position) {
            Ok(job) => shutdown.job = Some(job),
            Err(_) => core.order(Order::FinalSaveFailed(SAVE_FAILED)),
        }
    }

    /// Cancels the final save after the data was replaced. Returns whether it must be repeated.
    pub(crate) fn cancel_save(&mut self) -> bool {
        let Some(shutdown) = &mut self.running else { return false };
        (shutdown.job, shutdown.is_saving) = (None, false);
        shutdown.stage == Stage::Exits
    }

    /// Handles the end of a save, which may be the final one.
    pub(crate) fn saved(
        &self,
        core: &mut Core,
        saves: &mut Saves,
        job: JobId,
        result: &Result<u64, String>,
    ) {
        let Some(shutdown) = self.running.filter(|shutdown| shutdown.job == Some(job)) else {
            return;
        };
        if result.is_ok() || shutdown.options.force {
            exit(core);
        } else {
            saves.forget_failure();
            core.order(Order::FinalSaveFailed(SAVE_FAILED));
        }
    }

    /// Handles a failure of the final save.
    pub(crate) fn save_failed(
        &mut self,
        core: &mut Core,
        clients: &Clients,
        pause: &mut Pause,
        why: &str,
    ) {
        if self.running.is_some_and(|shutdown| shutdown.options.force) {
            return exit(core);
        }
        core.log(Level::Warning, why);
        let text = "Errors trying to shut down the server. Check the logs for more information.";
        core.log(Level::Warning, text);
        let error = ErrorReply::err("Errors trying to SHUTDOWN. Check logs.");
        self.cancel(core, clients, pause, &error);
    }

    /// Cancels a shutdown (SHUTDOWN ABORT, or a failed step). Returns false if there is none.
    pub(crate) fn cancel(
        &mut self,
        core: &mut Core,
        clients: &Clients,
        pause: &mut Pause,
        error: &ErrorReply,
    ) -> bool {
        let pending = self.pending.take();
        if self.running.take().is_none() && pending.is_none() {
            return false;
        }
        core.output(Output::Status(Status::ShutdownCancelled));
        core.timers.stop(Timer::Shutdown);
        core.order(Order::Cluster(ClusterOrder::CancelHandOver));
        pause.end(core, PauseReason::Shutdown);
        for handle in clients.waiting_for(|waiting| waiting == Waiting::Shutdown) {
            core.order(Order::Answer(handle, Answer::Error(error.clone())));
        }
        // Full synchronizations delayed by the shutdown may start.
        core.order(Order::SaveForReload);
        core.order(Order::ScheduleFullSync);
        true
    }

    /// Handles the arrival of a termination signal, which is acted on next.
    pub(crate) fn signalled(&mut self, core: &mut Core, signal: Signal) {
        let name = match signal {
            Signal::Terminate => "SIGTERM",
            Signal::Interrupt => "SIGINT",
        };
        core.log(Level::Warning, format!("Received {name} scheduling shutdown..."));
        self.pending = Some(signal);
    }

    /// Acts on a termination signal that has arrived.
    pub(crate) fn act_on_signal(
        &mut self,
        core: &mut Core,
        pause: &mut Pause,
        master: &mut Master,
    ) {
        let Some(signal) = self.pending.take() else { return };
        let flags = match signal {
            Signal::Terminate => core.config.shutdown_on_sigterm,
            Signal::Interrupt => core.config.shutdown_on_sigint,
        };
        let options = ShutdownOptions {
            save: if flags.save { Some(true) } else { flags.nosave.then_some(false) },
            now: flags.now,
            force: flags.force,
            failover: flags.failover,
        };
        self.begin(core, pause, master, options);
    }
}

/// How long replicas are waited for, microseconds; 0: they are not.
fn timeout_us(core: &Core) -> u64 {
    u64::from(core.config.shutdown_timeout) * 1_000_000
}

/// Logs the offsets of lagging replicas, which helps to choose one for a failover.
fn log_replicas(core: &mut Core, master: &Master) {
    let mut in_sync = 0;
    for replica in master.replicas() {
        let behind = master.stream.offset().saturating_sub(replica.acked_offset());
        if behind == 0 {
            in_sync += 1;
            continue;
        }
        let (stage, lag) = (replica.stage_name(), replica.lag_secs(core.now.mono_us));
        let text = format!(
            "Lagging replica {} reported offset {behind} behind master, lag={lag}, state={stage}.",
            replica.name()
        );
        core.log(Level::Notice, text);
    }
    let count = master.replicas().len();
    if count > 0 {
        let text = format!("{in_sync} of {count} replicas are in sync when shutting down.");
        core.log(Level::Notice, text);
    }
}

fn exit(core: &mut Core) {
    let who = if core.boot.mode == Mode::Sentinel { "Sentinel" } else { "Redis" };
    core.log(Level::Warning, format!("{who} is now ready to exit, bye bye..."));
    core.order(Order::Exit(0));
}
