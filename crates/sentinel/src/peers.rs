//! The other Sentinels: one connection to each, whatever the number of masters that it watches with us.
//!
//! The first thing that is asked over a connection is SENTINEL MYID. A Sentinel whose address turns out to belong to another
//! one is not heard: its votes would be those of somebody else.

use std::collections::BTreeMap;

use russet_protocol::Reply;

use crate::address::Address;
use crate::context::{Context, Owner};
use crate::link::{Access, Expect, HELLO_CHANNEL, Link};

/// Another Sentinel.
#[derive(Debug)]
pub(crate) struct Peer {
    pub address: Address,
    pub link: Link,
    /// Id of the Sentinel that answers at this address, if it is another one.
    pub impostor: Option<String>,
    /// Where it has answered with its id, or our file says that it is.
    pub home: Option<Address>,
    /// When hello messages were last sent to it.
    last_hello: u64,
}

impl Peer {
    /// Whether it is where it was found before, as far as that is known.
    pub fn is_home(&self) -> bool {
        self.home.as_ref().is_none_or(|home| home.is_same(&self.address))
    }
}

/// The other Sentinels by id.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    by_id: BTreeMap<String, Peer>,
    /// The least `down-after-milliseconds` of all masters.
    pub down_after: u64,
}

impl Peers {
    pub fn get(&self, id: &str) -> Option<&Peer> {
        self.by_id.get(id)
    }

    pub fn get_mut(&mut self, id: &str) -> Option<&mut Peer> {
        self.by_id.get_mut(id)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&String, &mut Peer)> {
        self.by_id.iter_mut()
    }

    /// Adds a Sentinel, unless it is known.
    pub fn add(&mut self, cx: &Context, id: &str, address: Address) -> &mut Peer {
        let now = cx.ms();
        self.by_id.entry(id.to_owned()).or_insert_with(|| Peer {
            address,
            link: Link::new(now, false),
            impostor: None,
            home: None,
            last_hello: now,
        })
    }

    /// Returns those at whose address this Sentinel answers.
    pub fn displaced_by(&self, id: &str) -> Vec<String> {
        let is_displaced = |peer: &Peer| peer.impostor.as_deref() == Some(id);
        let displaced = self.by_id.iter().filter(|(_, peer)| is_displaced(peer));
        displaced.map(|(id, _)| id.clone()).collect()
    }

    /// Removes those that no master refers to.
    pub fn retain(&mut self, cx: &mut Context, is_used: impl Fn(&str) -> bool) {
        self.by_id.retain(|id, peer| {
            let keep = is_used(id);
            if !keep {
                peer.link.close(cx);
            }
            keep
        });
    }

    /// Closes all connections. Returns how many there were.
    pub fn close_all(&mut self, cx: &mut Context) {
        for peer in self.by_id.values_mut() {
            peer.link.close(cx);
        }
    }

    /// Returns the interval of PING.
    fn ping_ms(&self, cx: &Context) -> u64 {
        ping_ms(cx, self.down_after)
    }

    /// Connects, sends what is due, and returns when something is due again. `hellos` returns the messages for a Sentinel.
    pub fn tick(
        &mut self,
        cx: &mut Context,
        hellos: &dyn Fn(&Context, &str, &Link) -> Vec<String>,
    ) -> u64 {
        let (now, ping_ms, down_after) = (cx.ms(), self.ping_ms(cx), self.down_after);
        let publish = cx.periods.publish;
        let mut due = u64::MAX;
        for (id, peer) in &mut self.by_id {
            peer.link.close_silent(cx, down_after);
            peer.link.reconnect(cx, &peer.address, &Owner::Peer(id.clone()), ping_ms);
            if peer.link.accepts_more() {
                if peer.link.last_ping + ping_ms <= now {
                    peer.link.ping(cx, "PING");
                }
                if peer.last_hello + publish <= now {
                    peer.last_hello = now;
                    for text in hellos(cx, id, &peer.link) {
                        peer.link.send(cx, Expect::Hello, &["PUBLISH", HELLO_CHANNEL, &text]);
                    }
                }
            }
            due = due.min(peer.link.due(cx, down_after, ping_ms));
            if peer.link.accepts_more() {
                due = due.min(peer.link.last_ping + ping_ms).min(peer.last_hello + publish);
            }
        }
        due.max(now + 1)
    }

    /// Handles an open connection.
    pub fn connected(
        &mut self,
        cx: &mut Context,
        id: &str,
        link: crate::io::LinkId,
        ends: (Option<std::net::IpAddr>, Option<std::net::IpAddr>),
    ) {
        let Some(peer) = self.by_id.get_mut(id) else { return };
        let (user, password) = match &cx.globals.sentinel_pass {
            Some(password) => (cx.globals.sentinel_user.clone(), Some(password.clone())),
            None => (None, cx.requirepass.clone()),
        };
        let renamed = |name: &str| name.to_owned();
        let access =
            Access { user: user.as_deref(), password: password.as_deref(), renamed: &renamed };
        peer.address.ip = ends.1.or(peer.address.ip);
        peer.link.connected(cx, link, access, ends.0);
        peer.impostor = None;
        peer.link.send(cx, Expect::Id, &["SENTINEL", "MYID"]);
        peer.link.ping(cx, "PING");
    }

    /// Handles the reply to PING.
    pub fn answered_ping(&mut self, cx: &Context, id: &str, reply: &Reply<'_>) {
        let Some(peer) = self.by_id.get_mut(id) else { return };
        let text = reply.bytes().or(reply.error()).unwrap_or_default();
        peer.link.last_reply = cx.ms();
        let is_valid =
            [&b"PONG"[..], b"LOADING", b"MASTERDOWN"].iter().any(|valid| text.starts_with(valid));
        if is_valid && peer.impostor.is_none() {
            peer.link.valid_reply(cx.ms());
        }
    }

    /// Requests that hello messages are sent to all at once.
    pub fn hurry_hello(&mut self) {
        self.by_id.values_mut().for_each(|peer| peer.last_hello = 0);
    }
}

/// Returns the interval of PING for servers that are down after this time: short enough to notice in time.
pub(crate) fn ping_ms(cx: &Context, down_after: u64) -> u64 {
    cx.periods.ping.min((down_after / 5).max(20))
}
