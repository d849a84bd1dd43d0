//! Sentinel mode: carries the machine's connections, its state, its events and its scripts to the node and back.
//!
//! The machine ([`russet_sentinel`]) decides everything; this part has no opinion. What it owns is in between:
//!
//! ```text
//!   links     a connection of the machine ◀─▶ a connection of the node, with a parser of replies
//!   saves     a version of the state      ◀─▶ a request to the driver
//!   waiting   replies that must not be sent before a version is on disk, a vote first of all
//! ```

mod links;
mod state;

use std::collections::BTreeMap;

pub use russet_sentinel::{End, HELLO_CHANNEL};
use russet_sentinel::{Input, Level as Severity, Now, Output, ScriptId, Sentinel as Machine};

use crate::clients::{Clients, LinkOwner};
use crate::config::Store;
use crate::config::password::Password;
use crate::core::{Core, Order};
use crate::ids::JobId;
use crate::io::Level;
use crate::journal_file::JournalFile;
use crate::pubsub::PubSub;
use crate::timers::Timer;

/// The part.
#[derive(Default)]
pub struct Sentinel {
    machine: Option<Box<Machine>>,
    store: Option<Store>,
    links: links::Links,
    saves: state::Saves,
    journal_file: JournalFile,
    scripts: BTreeMap<JobId, ScriptId>,
}

impl std::fmt::Debug for Sentinel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sentinel").field("links", &self.links).finish_non_exhaustive()
    }
}

/// What the part acts on.
pub(crate) struct World<'a> {
    /// The shared state.
    pub core: &'a mut Core,
    /// The connections.
    pub clients: &'a mut Clients,
    /// The subscribers of events.
    pub pubsub: &'a PubSub,
}

/// Returns the time as the machine counts it.
pub(crate) fn now(core: &Core) -> Now {
    Now { mono_ms: core.now.mono_ms(), wall_ms: core.now.wall_ms() }
}

impl Sentinel {
    /// Starts to watch.
    pub(crate) fn begin_at_start(&mut self, world: &mut World<'_>) {
        let core = &mut *world.core;
        let Some(start) = core.boot.sentinel.take() else { return };
        let boot = russet_sentinel::Boot {
            seed: core.rng.draw(),
            new_id: core.ids.hex40(),
            port: core.config.port,
            requirepass: requirepass(&core.config.requirepass),
            journal: start.journal,
            programs: core.boot.programs,
            #[cfg(feature = "injected")]
            bug: core.boot.sentinel_bug,
            #[cfg(not(feature = "injected"))]
            bug: None,
        };
        self.store = Some(start.store);
        self.machine = Some(Box::new(Machine::new(start.settings, boot, now(core))));
        self.carry_out(world);
    }

    /// Returns the machine, in Sentinel mode.
    pub fn machine(&self) -> Option<&Machine> {
        self.machine.as_deref()
    }

    /// Calls the machine, and carries out what it wants.
    pub(crate) fn call<T>(
        &mut self,
        world: &mut World<'_>,
        call: impl FnOnce(&mut Machine, Now) -> T,
    ) -> Option<T> {
        let now = now(world.core);
        let result = call(self.machine.as_deref_mut()?, now);
        self.carry_out(world);
        Some(result)
    }

    /// Handles an event.
    fn handle(&mut self, world: &mut World<'_>, input: Input<'_>) {
        self.call(world, |machine, now| machine.handle(now, input));
    }

    /// Handles that its timer is due.
    pub(crate) fn tick(&mut self, world: &mut World<'_>) {
        if let (Some(machine), Some(store)) = (&self.machine, &self.store) {
            self.journal_file.write_if_due(world.core, store.path(), || machine.journal_text());
        }
        self.handle(world, Input::Tick);
    }

    /// Carries out what the machine wants, and sets the timer.
    fn carry_out(&mut self, world: &mut World<'_>) {
        while let Some(output) = self.machine.as_deref_mut().and_then(Machine::poll_output) {
            self.output(world, output);
        }
        let machine_due = self.machine.as_ref().map_or(u64::MAX, |machine| machine.next_due());
        let due_us = machine_due.saturating_mul(1000).min(self.journal_file.due_us());
        if due_us < u64::MAX {
            world.core.timers.set(Timer::Sentinel, due_us);
        }
    }

    fn output(&mut self, world: &mut World<'_>, output: Output) {
        let World { core, clients, pubsub } = world;
        match output {
            Output::Connect { link, host, port } => {
                let handle = clients.connect(core, LinkOwner::Sentinel, &host, port);
                self.links.add(link, handle);
            }
            Output::Send { link, bytes } => {
                if let Some(handle) = self.links.handle(link) {
                    clients.send(core, handle, &bytes);
                }
            }
            Output::Close { link } => {
                if let Some(handle) = self.links.remove(link) {
                    clients.drop_without_flush(core, handle);
                }
            }
            Output::Save { version } => self.save(core, version),
            Output::Publish { channel, message } => {
                pubsub.publish(core, clients, channel.as_bytes(), message.as_bytes());
            }
            Output::Log { level, text } => core.log(level_of(level), text),
            Output::RunScript { id, path, arguments } => {
                let job = core.next_job();
                self.scripts.insert(job, id);
                core.output(crate::io::Output::RunScript { job, path, arguments });
            }
            Output::KillScript { id } => {
                if let Some((&job, _)) = self.scripts.iter().find(|(_, known)| **known == id) {
                    core.output(crate::io::Output::KillScript { job });
                }
            }
            Output::SaveJournal => self.journal_file.is_new(core.now.mono_us),
            Output::Exit(status) => core.order(Order::Exit(status)),
        }
    }
}

/// Returns the password for connections to other Sentinels, unless only its hash is known.
fn requirepass(password: &Password) -> Option<String> {
    match password {
        Password::Text(text) => String::from_utf8(text.clone()).ok(),
        Password::Hash(_) => None,
    }
}

fn level_of(level: Severity) -> Level {
    match level {
        Severity::Debug => Level::Debug,
        Severity::Verbose => Level::Verbose,
        Severity::Notice => Level::Notice,
        Severity::Warning => Level::Warning,
    }
}
