//! Connections: bytes on their way to the node, and bytes that it has sent.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;

use russet_engine::Node;
use russet_engine::io::{Endpoints, Handle, Input, Now, Service};

use crate::Driver;

/// A connection of the node, seen from its far end.
#[derive(Debug, Default)]
pub struct Connection {
    /// What the node has sent and nobody has taken.
    pub received: Vec<u8>,
    /// Bytes that this end still takes; none: all.
    pub room: Option<usize>,
    /// What is received is counted and not kept.
    pub discards: bool,
    /// What was sent and not read.
    unread: VecDeque<u8>,
    /// The node has closed it.
    is_closed: bool,
}

/// All connections that there have been.
#[derive(Default)]
pub(crate) struct Connections {
    all: BTreeMap<Handle, Connection>,
    /// Those with something to be read, each once.
    readable: VecDeque<Handle>,
    dirty: Vec<Handle>,
    /// Bytes that one read takes at most; none: as many as the node's buffer has room for.
    read_bytes_max: Option<usize>,
}

impl Connections {
    /// Reads once from each connection that has bytes which the node wants. False if there was none.
    fn read(&mut self, node: &mut Node, now: Now) -> bool {
        let mut any = false;
        for _ in 0..self.readable.len() {
            let Some(handle) = self.readable.pop_front() else { break };
            let Some(connection) = self.all.get_mut(&handle).filter(|c| !c.is_closed) else {
                continue;
            };
            if let Some(buffer) = node.read_buffer(handle) {
                let spare = buffer.capacity() - buffer.len();
                let len = self.read_bytes_max.unwrap_or(spare).min(connection.unread.len());
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

    /// Writes what connections have to send that have something new; how many bytes, none if no connection had.
    pub fn write_dirty(&mut self, node: &mut Node) -> Option<usize> {
        let mut dirty = std::mem::take(&mut self.dirty);
        node.take_dirty(&mut dirty);
        let any = !dirty.is_empty();
        let bytes = dirty.drain(..).map(|handle| self.write(node, handle)).sum();
        self.dirty = dirty;
        any.then_some(bytes)
    }

    /// Writes what a connection has to send, as far as its far end takes it.
    fn write(&mut self, node: &mut Node, handle: Handle) -> usize {
        let Some(connection) = self.all.get_mut(&handle) else { return 0 };
        let mut written = 0;
        while let Some(outbox) = node.outbox(handle).filter(|outbox| outbox.has_open_bytes()) {
            let room = connection.room.unwrap_or(usize::MAX);
            if room == 0 {
                break;
            }
            let mut slices = [IoSlice::new(&[]); 64];
            let filled = outbox.open_slices(&mut slices);
            let before = written;
            for slice in &slices[..filled] {
                let len = slice.len().min(room - (written - before));
                if !connection.discards {
                    connection.received.extend_from_slice(&slice[..len]);
                }
                written += len;
            }
            assert!(written > before, "open bytes were promised");
            connection.room = connection.room.map(|room| room - (written - before));
            node.written(handle, written - before);
        }
        written
    }

    /// The node closes a connection: it may have had something left to send.
    pub fn close(&mut self, node: &mut Node, handle: Handle) {
        self.write(node, handle);
        if let Some(connection) = self.all.get_mut(&handle) {
            connection.is_closed = true;
            connection.unread.clear();
        }
    }
}

impl Driver {
    /// A connection from this machine.
    pub fn connect(&mut self) -> Handle {
        self.connect_from("127.0.0.1:50000")
    }

    /// A connection from elsewhere.
    pub fn connect_from(&mut self, peer: &str) -> Handle {
        let peer = peer.parse().expect("an address");
        let local = "127.0.0.1:6379".parse().expect("an address");
        self.accept(Endpoints::Tcp { peer, local }).expect("the node accepts")
    }

    /// A connection comes; the node may refuse it with these bytes.
    pub fn accept(&mut self, ends: Endpoints) -> Result<Handle, Vec<u8>> {
        let handle = self.node.accept(self.now, Service::Clients, ends)?;
        self.connections.all.insert(handle, Connection::default());
        Ok(handle)
    }

    /// A connection that the node wants stands.
    pub fn connected(&mut self, link: Handle, ends: Endpoints) {
        self.connecting.retain(|wanted| *wanted != link);
        self.connections.all.insert(link, Connection::default());
        self.give(Input::Connected { link, result: Ok(ends) });
    }

    /// A connection that the node wants does not come about.
    pub fn refused(&mut self, link: Handle, why: &str) {
        self.connecting.retain(|wanted| *wanted != link);
        self.give(Input::Connected { link, result: Err(why.to_owned()) });
    }

    /// A connection, if there has been such a one.
    pub fn connection(&mut self, handle: Handle) -> Option<&mut Connection> {
        self.connections.all.get_mut(&handle)
    }

    /// Whether neither end has closed it.
    pub fn is_open(&self, handle: Handle) -> bool {
        self.connections.all.get(&handle).is_some_and(|connection| !connection.is_closed)
    }

    /// The node, and its connections that neither end has closed.
    pub fn parts(&mut self) -> (&Node, impl Iterator<Item = (Handle, &mut Connection)>) {
        let open = self.connections.all.iter_mut().filter(|(_, connection)| !connection.is_closed);
        (&self.node, open.map(|(handle, connection)| (*handle, connection)))
    }

    /// Bytes that one read takes at most; none: as many as the shell would read.
    pub fn set_read_bytes(&mut self, bytes: Option<usize>) {
        self.connections.read_bytes_max = bytes;
    }

    /// Sends bytes; nobody works yet.
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

    /// Reads once from each connection that has bytes which the node wants. False if there was none.
    pub fn read_connections(&mut self) -> bool {
        self.connections.read(&mut self.node, self.now)
    }

    /// Whether bytes were sent that the node has not read.
    pub fn has_unread(&self) -> bool {
        !self.connections.readable.is_empty()
    }

    /// Sends bytes and lets everybody work until nothing is left to do.
    pub fn send(&mut self, client: Handle, bytes: &[u8]) {
        self.queue(client, bytes);
        self.run();
    }

    /// Sends an inline request; what is received then, as text.
    pub fn ask(&mut self, client: Handle, line: &str) -> String {
        self.send(client, format!("{line}\r\n").as_bytes());
        self.take(client)
    }

    /// What a connection has received since somebody last took it, as text.
    pub fn take(&mut self, client: Handle) -> String {
        String::from_utf8_lossy(&self.take_raw(client)).into_owned()
    }

    /// What a connection has received since somebody last took it.
    pub fn take_raw(&mut self, client: Handle) -> Vec<u8> {
        let connection = self.connections.all.get_mut(&client);
        connection.map(|connection| std::mem::take(&mut connection.received)).unwrap_or_default()
    }

    /// A connection takes so many bytes more, and no others; none: it takes all.
    pub fn set_room(&mut self, client: Handle, bytes: Option<usize>) {
        if let Some(connection) = self.connection(client) {
            connection.room = bytes;
        }
        self.connections.write(&mut self.node, client);
        self.run();
    }

    /// A connection takes so many bytes more than it already would.
    pub fn add_room(&mut self, client: Handle, bytes: usize) {
        let room = self.connection(client).and_then(|connection| connection.room);
        self.set_room(client, Some(room.unwrap_or(0) + bytes));
    }

    /// The far end goes away.
    pub fn hang_up(&mut self, client: Handle) {
        if let Some(connection) = self.connection(client).filter(|c| !c.is_closed) {
            connection.is_closed = true;
            connection.unread.clear();
            self.give(Input::Closed(client));
        }
    }
}
