//! Settings that change while the node runs: who may change them, and what follows.

use russet_protocol::ErrorReply;

use crate::command::Command;
use crate::config::value::ProtectedAction;
use crate::config::{SetContext, SetError, allows};
use crate::io::{Endpoints, Handle};
use crate::node::Node;

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
    ) -> Result<(), ErrorReply> {
        let (directive, name) = match command.name.split('|').next() {
            Some("module") => ("enable-module-command", "MODULE"),
            _ => ("enable-debug-command", "DEBUG"),
        };
        let guard: ProtectedAction = match name {
            "MODULE" => self.config.enable_module_command,
            _ => self.config.enable_debug_command,
        };
        if allows(guard, self.set_context(handle)) {
            return Ok(());
        }
        Err(ErrorReply::err(format!(
            "{name} command not allowed. If the {directive} option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server."
        )))
    }

    /// The world has answered: a change of settings that it could not follow is undone.
    pub(crate) fn config_answered(&mut self, answer: Result<(), String>) -> Result<(), String> {
        let change = self.config_change.take();
        match (answer, change) {
            (Err(why), Some(change)) => {
                self.config.roll_back(&change);
                let row = change.changed.first();
                Err(row.map_or(why.clone(), |row| SetError::not_applied(row, &why).to_string()))
            }
            (answer, _) => answer,
        }
    }
}
