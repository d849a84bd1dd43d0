//! MONITOR: clients that are sent each command that this node executes.
//!
//! ```text
//!   +1700000000.000123 [0 127.0.0.1:50736] "SET" "a" "1"
//!    time of the turn   db, address         arguments, quoted as in a configuration file
//! ```
//!
//! A line follows the execution, as in Redis: that of SELECT has the new database, that of EXEC comes after the commands
//! of the transaction. A command that waits for keys has one line, when it begins to wait. Nothing is composed while
//! nobody listens.

use crate::clients::Clients;
use crate::config::grammar::quote;
use crate::core::Core;
use crate::ids::Handle;
use crate::io::Endpoints;

/// The clients in monitor mode, and what is not yet told to them.
#[derive(Debug, Default)]
pub struct Monitors {
    /// In the order in which they began.
    handles: Vec<Handle>,
    /// The name of the running EXEC as it was sent.
    exec: Option<Box<[u8]>>,
}

impl Monitors {
    /// Whether there are any.
    #[inline]
    pub fn is_on(&self) -> bool {
        !self.handles.is_empty()
    }

    /// Begins to send commands to a client.
    pub(crate) fn add(&mut self, clients: &mut Clients, handle: Handle) {
        if let Some(client) = clients.get_mut(handle)
            && !std::mem::replace(&mut client.is_monitor, true)
        {
            self.handles.push(handle);
        }
    }

    /// Ends it, if the client is in monitor mode.
    pub(crate) fn remove(&mut self, clients: &mut Clients, handle: Handle) {
        self.handles.retain(|monitor| *monitor != handle);
        if let Some(client) = clients.get_mut(handle) {
            client.is_monitor = false;
        }
    }

    /// An EXEC with this name has begun: its line follows those of its commands.
    pub(crate) fn exec_began(&mut self, name: &[u8]) {
        self.exec = Some(name.into());
    }

    /// It has ended, in this database.
    pub(crate) fn exec_ended(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        client: Option<Handle>,
        db: u32,
    ) {
        if let Some(name) = self.exec.take() {
            self.executed(core, clients, client, db, std::iter::once(&*name));
        }
    }

    /// Sends a command to the monitors that a client, or the link to our master, has executed.
    #[cold]
    pub(crate) fn executed<'a>(
        &self,
        core: &mut Core,
        clients: &mut Clients,
        client: Option<Handle>,
        db: u32,
        args: impl Iterator<Item = &'a [u8]>,
    ) {
        let micros = core.now.wall_us;
        let (seconds, rest) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
        let address =
            client.and_then(|handle| clients.get(handle)).map(|client| match &client.ends {
                Endpoints::Unix(path) => format!("unix:{path}"),
                Endpoints::Tcp { .. } => client.peer(),
            });
        let address = address.unwrap_or_default();
        let mut line = format!("+{seconds}.{rest:06} [{db} {address}]").into_bytes();
        for arg in args {
            line.push(b' ');
            line.extend(quote(arg));
        }
        line.extend(b"\r\n");
        let line = core.shared.share(line);
        for &monitor in &self.handles {
            if clients.get(monitor).is_some_and(|client| !client.reply_mode.drops_reply()) {
                clients.push(core, monitor, &line);
            }
        }
    }
}
