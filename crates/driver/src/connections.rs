//! Connections: bytes sent to the node and received from it.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;

use russet_engine::Node;
use russet_engine::io::{Endpoints, Handle, Input, Now, Service};

use crate::Driver;

/// A connection of the node, from the peer's point of view.
#[derive(Debug, Default)]
pub struct Connection {
    /// Bytes received from the node and not taken yet.
    pub received: Vec<u8>,
    /// Number of bytes that the peer still reads; none: unlimited.
    pub read_limit: Option<usize>,
    /// Whether received bytes are dropped.
    pub discards: bool,
    /// Bytes sent to the node that it has not read.
    unread: VecDeque<u8>,
    /// Whether either end has closed it.
    is_closed: bool,
}

/// All connections, including closed ones.
#[derive(Default)]
pub(crate) struct Connections {
    all: BTreeMap<Handle, Connection>,
    /// Connections with unread bytes, each once.
    readable: VecDeque<Handle>,
    dirty: Vec<Handle>,
    /// Maximum number of bytes of one read by the node; none: the capacity of its buffer.
    read_bytes_max: Option<usize>,
}

impl Connections {
    /// Lets the node read once from each readable connection. Returns false if it read nothing.
    fn read(&mut self, node: &mut Node, now: Now) -> bool {
        let mut any = false;
        for _ in 0..self.readable.len() {
            let Some(handle) = self.readable.pop_front() else { break };
            let Some(connection) = self.all.get_mut(&handle).filter(|c| !c.is_closed) else {
                continue;
            };
            if let Some(buffer) = node.read_buffer(handle) {
                let spare = buffer.capacity() - buffer.len();
                let most = self.read_bytes_max.map_or(spare, |most| most.min(spare));
                let len = most.min(connection.unread.len());
                buffer.extend(connection.unread.drain(..len));
                node.received(now, handle);
                any = true;
            }
            if !connection.unread.is_empty() {
                self.readable.push_back(handle);
            }
        }
        any
    }

    /// Writes the output of dirty connections. Returns the number of bytes; none if no connection was
    /// dirty.
    pub fn write_dirty(&mut self, node: &mut Node) -> Option<usize> {
        let mut dirty = std::mem::take(&mut self.dirty);
        node.take_dirty(&mut dirty);
        let any = !dirty.is_empty();
        let bytes = dirty.drain(..).map(|handle| self.write(node, handle)).sum();
        self.dirty = dirty;
        any.then_some(bytes)
    }

    /// Writes the output of a connection as far as its peer reads it. Returns the number of bytes.
    fn write(&mut self, node: &mut Node, handle: Handle) -> usize {
        let Some(connection) = self.all.get_mut(&handle) else { return 0 };
        let mut written = 0;
        while let Some(outbox) = node.outbox(handle).filter(|outbox| outbox.has_open_bytes()) {
            let limit = connection.read_limit.unwrap_or(usize::MAX);
            if limit == 0 {
                break;
            }
            let mut slices = [IoSlice::new(&[]); 64];
            let filled = outbox.open_slices(&mut slices);
            let before = written;
            for slice in &slices[..filled] {
                let len = slice.len().min(limit - (written - before));
                if !connection.discards {
                    connection.received.extend_from_slice(&slice[..len]);
                }
                written += len;
            }
            assert!(written > before, "the outbox has open bytes");
            connection.read_limit = connection.read_limit.map(|limit| limit - (written - before));
            node.written(handle, written - before);
        }
        written
    }

    /// Closes a connection for the node, after writing its remaining output.
    pub fn close(&mut self, node: &mut Node, handle: Handle) {
        self.write(node, handle);
        if let Some(connection) = self.all.get_mut(&handle) {
            connection.is_closed = true;
            connection.unread.clear();
        }
    }
}

impl Driver {
    /// Opens a local connection.
    pub fn connect(&mut self) -> Handle {
        self.connect_from("127.0.0.1:50000")
    }

    /// Opens a connection from a peer's address.
    pub fn connect_from(&mut self, peer: &str) -> Handle {
        let peer = peer.parse().expect("an address");
        let local = "127.0.0.1:6379".parse().expect("an address");
        self.accept(Endpoints::Tcp { peer, local }).expect("the node accepts")
    }

    /// Opens a connection. Returns the error reply if the node rejects it.
    pub fn accept(&mut self, ends: Endpoints) -> Result<Handle, Vec<u8>> {
        self.accept_for(Service::Clients, ends)
    }

    /// Opens a connection to a listener of this service.
    pub fn accept_for(&mut self, service: Service, ends: Endpoints) -> Result<Handle, Vec<u8>> {
        let handle = self.node.accept(self.now, service, ends)?;
        self.connections.all.insert(handle, Connection::default());
        Ok(handle)
    }

    /// Completes an outgoing connection of the node.
    pub fn connected(&mut self, link: Handle, ends: Endpoints) {
        self.connecting.retain(|connecting| *connecting != link);
        self.connections.all.insert(link, Connection::default());
        self.input(Input::Connected { link, result: Ok(ends) });
    }

    /// Fails an outgoing connection of the node.
    pub fn connect_failed(&mut self, link: Handle, why: &str) {
        self.connecting.retain(|connecting| *connecting != link);
        self.targets.remove(&link);
        self.input(Input::Connected { link, result: Err(why.to_owned()) });
    }

    /// Returns a connection, open or closed.
    pub fn connection(&mut self, handle: Handle) -> Option<&mut Connection> {
        self.connections.all.get_mut(&handle)
    }

    /// Whether a connection is open.
    pub fn is_open(&self, handle: Handle) -> bool {
        self.connections.all.get(&handle).is_some_and(|connection| !connection.is_closed)
    }

    /// Returns the node and its open connections.
    pub fn parts(&mut self) -> (&Node, impl Iterator<Item = (Handle, &mut Connection)>) {
        let open = self.connections.all.iter_mut().filter(|(_, connection)| !connection.is_closed);
        (&self.node, open.map(|(handle, connection)| (*handle, connection)))
    }

    /// Sets the maximum number of bytes of one read by the node; none: as in the shell.
    pub fn set_read_bytes_max(&mut self, bytes: Option<usize>) {
        self.connections.read_bytes_max = bytes;
    }

    /// Sends bytes without running the node.
    pub fn queue(&mut self, handle: Handle, bytes: &[u8]) {
        let Some(connection) = self.connections.all.get_mut(&handle).filter(|c| !c.is_closed)
        else {
            return;
        };
        if connection.unread.is_empty() && !bytes.is_empty() {
            self.connections.readable.push_back(handle);
        }
        connection.unread.extend(bytes);
    }

    /// Lets the node read once from each readable connection. Returns false if it read nothing.
    pub fn read_connections(&mut self) -> bool {
        self.connections.read(&mut self.node, self.now)
    }

    /// Whether there are bytes that the node has not read.
    pub fn has_unread(&self) -> bool {
        !self.connections.readable.is_empty()
    }

    /// Sends bytes and runs the node.
    pub fn send(&mut self, client: Handle, bytes: &[u8]) {
        self.queue(client, bytes);
        self.run();
    }

    /// Sends an inline request, runs the node and takes what is received, as text.
    pub fn request(&mut self, client: Handle, line: &str) -> String {
        self.send(client, format!("{line}\r\n").as_bytes());
        self.take(client)
    }

    /// Takes the received bytes of a connection, as text.
    pub fn take(&mut self, client: Handle) -> String {
        String::from_utf8_lossy(&self.take_raw(client)).into_owned()
    }

    /// Takes the received bytes of a connection.
    pub fn take_raw(&mut self, client: Handle) -> Vec<u8> {
        let connection = self.connections.all.get_mut(&client);
        connection.map(|connection| std::mem::take(&mut connection.received)).unwrap_or_default()
    }

    /// Limits the bytes that a peer still reads, and runs the node; none: unlimited.
    pub fn set_read_limit(&mut self, client: Handle, bytes: Option<usize>) {
        if let Some(connection) = self.connection(client) {
            connection.read_limit = bytes;
        }
        self.connections.write(&mut self.node, client);
        self.run();
    }

    /// Raises the limit of bytes that a peer still reads, and runs the node.
    pub fn raise_read_limit(&mut self, client: Handle, bytes: usize) {
        let limit = self.connection(client).and_then(|connection| connection.read_limit);
        self.set_read_limit(client, Some(limit.unwrap_or(0) + bytes));
    }

    /// Closes a connection by its peer.
    pub fn disconnect(&mut self, client: Handle) {
        if let Some(connection) = self.connection(client).filter(|c| !c.is_closed) {
            connection.is_closed = true;
            connection.unread.clear();
            self.targets.remove(&client);
            self.input(Input::Closed(client));
        }
    }
}
