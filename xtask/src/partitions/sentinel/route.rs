//! The way to the master by Sentinels: clients ask them in turn, and the next one when a server fails or refuses.

use std::net::SocketAddrV4;

use russet_e2e::{Client, Value};

use super::deployment::{NAME, address_in};
use crate::partitions::writer::{REPLY_MAX, Route};

/// The Sentinels that a client asks.
pub struct Sentinels {
    addresses: Vec<SocketAddrV4>,
    next: usize,
}

impl Sentinels {
    /// Asks these.
    pub fn new(addresses: Vec<SocketAddrV4>) -> Sentinels {
        Sentinels { addresses, next: 0 }
    }
}

impl Route for Sentinels {
    fn server(&mut self) -> Option<SocketAddrV4> {
        let sentinel = self.addresses.get(self.next % self.addresses.len().max(1))?;
        self.next += 1;
        master_of(*sentinel)
    }

    fn refused(&mut self, _: &Value) {}
}

/// The master that a Sentinel names, if it replies.
pub fn master_of(sentinel: SocketAddrV4) -> Option<SocketAddrV4> {
    let mut client = Client::connect_within(sentinel.into(), REPLY_MAX).ok()?;
    let question = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME];
    address_in(&client.try_command(&question).ok()?)
}
