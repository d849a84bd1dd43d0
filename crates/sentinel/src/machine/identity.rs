//! Who the other Sentinels are: their hello messages, and the ids that answer at their addresses. An id stands before an
//! address, which may change.

use russet_protocol::Reply;

use super::Sentinel;
use crate::hello::Hello;
use crate::io::Now;
use crate::master::Master;
use crate::settings::ID_LEN;

impl Sentinel {
    /// Handles the id of the Sentinel that answers at a peer's address.
    pub(super) fn peer_id(&mut self, id: &str, reply: &Reply<'_>) {
        let Some(found) = reply.bytes().filter(|found| found.len() == ID_LEN) else { return };
        let found = String::from_utf8_lossy(found).into_owned();
        let Some(peer) = self.peers.get_mut(id) else { return };
        if found == id {
            peer.home = Some(peer.address.clone());
            return;
        }
        peer.impostor = Some(found.clone());
        let is_known = found == self.cx.my_id || self.peers.get(&found).is_some();
        if is_known {
            self.remove_displaced(id);
        }
    }

    /// Forgets a Sentinel at whose address another one answers that we know of: it was started anew with another id. If only
    /// a hello message says that it has moved there, it stays: anybody could say so, and fewer Sentinels are a smaller majority.
    fn remove_displaced(&mut self, id: &str) {
        let Sentinel { cx, masters, peers, .. } = self;
        if peers.get(id).is_none_or(|peer| !peer.is_home()) {
            return;
        }
        for master in masters.values_mut() {
            master.remove_voter(cx, peers, id, "+sentinel-invalid-addr");
        }
        self.forget_unused_peers();
    }

    /// Handles a hello message that was published to us.
    pub fn published(&mut self, now: Now, message: &[u8]) {
        self.advance(now);
        self.hello(message);
        self.run_due();
    }

    /// Handles a hello message.
    pub(super) fn hello(&mut self, message: &[u8]) {
        let Some(hello) = Hello::parse(message) else { return };
        let Some(&number) = self.names.get(&hello.master) else { return };
        if hello.id == self.cx.my_id {
            return;
        }
        let Sentinel { cx, masters, peers, .. } = self;
        let old = peers.get(&hello.id).map(|peer| peer.address.clone());
        if !masters.get_mut(&number).is_some_and(|master| master.heard(cx, peers, &hello)) {
            return;
        }
        let new = peers.get(&hello.id).map(|peer| peer.address.clone());
        let watches = |master: &&Master| master.voters.contains_key(&hello.id);
        let others = masters.values().filter(watches).filter(|it| it.number != number).count();
        if let (Some(old), Some(new), Some(master)) = (old, new, masters.get_mut(&number))
            && others > 0
            && !old.is_same(&new)
        {
            master.moved_for_others(cx, &hello.id, &new, others);
        }
        for id in self.peers.displaced_by(&hello.id) {
            self.remove_displaced(&id);
        }
        self.schedule(number, 0);
        self.peers_due = 0;
    }
}
