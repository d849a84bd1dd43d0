//! A node in this process with virtual time. A mirror of its journal must have the same data after
//! each step.

use std::collections::BTreeMap;
use std::time::Duration;

use russet_driver::mirror::Mirror;
use russet_driver::{Driver, Files, peers};
use russet_engine::Boot;
use russet_engine::config::{Config, SetContext};
use russet_engine::io::{Endpoints, Handle};
use russet_protocol::Protocol;

use crate::resp;
use crate::run::{Server, Start};

/// A driven node with its mirror.
pub struct Local {
    driver: Driver,
    mirror: Mirror,
    clients: BTreeMap<String, Handle>,
    replica: Option<Handle>,
    protocol: Protocol,
}

impl Default for Local {
    fn default() -> Local {
        let mut driver = Driver::start(Config::default(), Boot::default(), Files::new());
        let mirror = Mirror::of(&mut driver);
        let protocol = Protocol::Resp2;
        Local { driver, mirror, clients: BTreeMap::new(), replica: None, protocol }
    }
}

impl Local {
    fn client(&mut self, name: &str) -> Handle {
        if let Some(&handle) = self.clients.get(name) {
            return handle;
        }
        let ends = Endpoints::Unix("/transcript".to_owned());
        let handle = self.driver.accept(ends).expect("a local client is accepted");
        let client = self.driver.node.parts.clients.get_mut(handle).expect("just accepted");
        client.protocol = self.protocol;
        self.clients.insert(name.to_owned(), handle);
        handle
    }
}

impl Server for Local {
    fn start(&mut self, start: Start) {
        *self = Local::default();
        if start.resp3 {
            self.protocol = Protocol::Resp3;
        }
        if start.replica {
            self.replica = Some(peers::attach(&mut self.driver));
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        let context = SetContext { loading: false, is_local: true };
        let config = &mut self.driver.node.core.config;
        config.set(&[(name.as_bytes(), value.as_bytes())], context).expect("a known directive");
    }

    fn advance(&mut self, time: Duration) -> bool {
        self.driver.advance(time);
        assert_eq!(self.mirror.difference(&self.driver), None, "after {time:?}");
        true
    }

    fn send(&mut self, client: &str, bytes: &[u8], _requests: usize) {
        let handle = self.client(client);
        self.driver.send(handle, bytes);
        let difference = self.mirror.difference(&self.driver);
        assert_eq!(difference, None, "after {}", bytes.escape_ascii());
    }

    fn replies(&mut self, client: &str) -> Vec<String> {
        let handle = self.client(client);
        let mut bytes = self.driver.take_raw(handle);
        let mut lines = Vec::new();
        while let Some((len, reply)) = resp::reply(&bytes) {
            bytes.drain(..len);
            lines.extend(reply);
        }
        assert!(bytes.is_empty(), "half a reply: {:?}", String::from_utf8_lossy(&bytes));
        if self.driver.closed.contains(&handle) {
            lines.push("(closed)".to_owned());
            self.clients.remove(client);
        }
        lines
    }

    fn clients(&self) -> Vec<String> {
        self.clients.keys().cloned().collect()
    }

    fn effects(&mut self) -> Vec<String> {
        let Some(handle) = self.replica else { return Vec::new() };
        resp::effects(&mut self.driver.take_raw(handle))
    }
}
