//! Connections whose peers do not read what they are sent.

use super::{Clients, LinkOwner, Role};
use crate::core::{ClusterOrder, Core, Order};
use crate::ids::Handle;
use crate::io::Level;

impl Clients {
    /// Closes a connection for the length of its output.
    #[cold]
    pub(crate) fn close_for_output(&mut self, core: &mut Core, handle: Handle) {
        let Some(client) = self.get(handle).filter(|client| !client.closed) else { return };
        if client.role == Role::Link(LinkOwner::Bus) {
            let bytes = client.wire.outbox.len();
            core.order(Order::Cluster(ClusterOrder::LinkOverLimit { handle, bytes }));
            return self.drop_without_flush(core, handle);
        }
        let (which, _) = client.output_limit(&core.config);
        let who = client.describe(core.now.mono_us, 0);
        core.stats.output_limit_disconnections += 1;
        let text = format!(
            "Client {who} scheduled to be closed ASAP for overcoming of output buffer limits. \
             Its limit is {which}."
        );
        core.log(Level::Warning, text);
        self.drop_without_flush(core, handle);
    }
}
