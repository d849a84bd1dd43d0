//! The sockets of connections, indexed by the node's handles.
//!
//! The node assigns handles (index and generation); this table holds the descriptor and the
//! registered `epoll` events of each. It does not know whether a connection is a client, a replica
//! or a link to a master.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use russet_engine::io::Handle;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::net::RecvFlags;

/// Maximum number of reads that discard unread bytes.
const DISCARD_READS: usize = 16;

/// The socket of a connection.
pub struct Connection {
    fd: OwnedFd,
    generation: u32,
    interest: EventFlags,
    /// Set when the peer has shut down its side: rounds since then without output.
    pub finishing: Option<u32>,
    /// Set while an outgoing connection is not established.
    pub connecting: Option<Box<Attempt>>,
}

/// An outgoing connection attempt.
pub struct Attempt {
    /// Addresses not tried yet, last first.
    pub untried: Vec<SocketAddr>,
}

/// The table of connections.
#[derive(Default)]
pub struct Connections {
    entries: Vec<Option<Connection>>,
}

impl Connection {
    /// Returns the socket.
    #[inline]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether the socket is watched for writability.
    #[inline]
    pub fn wants_write(&self) -> bool {
        self.interest.contains(EventFlags::OUT)
    }

    /// Whether the socket is watched for readability.
    #[inline]
    pub fn wants_read(&self) -> bool {
        self.interest.contains(EventFlags::IN)
    }

    /// Discards unread bytes, up to a limit.
    pub fn discard_unread(&self) {
        let mut bytes = [0; 8192];
        for _ in 0..DISCARD_READS {
            match rustix::net::recv(&self.fd, &mut bytes[..], RecvFlags::DONTWAIT) {
                Ok((read, _)) if read == bytes.len() => {}
                _ => return,
            }
        }
    }

    /// Changes the watched events if they differ.
    pub fn set_interest(&mut self, epoll: &OwnedFd, handle: Handle, interest: EventFlags) {
        if self.interest != interest {
            self.interest = interest;
            // A descriptor unknown to `epoll` was removed by `mute`.
            let _ = epoll::modify(epoll, &self.fd, token(handle), interest);
        }
    }

    /// Starts or stops watching for writability.
    pub fn set_wants_write(&mut self, epoll: &OwnedFd, handle: Handle, wanted: bool) {
        let mut interest = self.interest;
        interest.set(EventFlags::OUT, wanted);
        self.set_interest(epoll, handle, interest);
    }

    /// Starts or stops watching for readability.
    pub fn set_wants_read(&mut self, epoll: &OwnedFd, handle: Handle, wanted: bool) {
        let mut interest = self.interest;
        interest.set(EventFlags::IN, wanted);
        self.set_interest(epoll, handle, interest);
    }

    /// Removes a socket from `epoll`, which otherwise always reports errors.
    pub fn mute(&mut self, epoll: &OwnedFd) {
        let _ = epoll::delete(epoll, &self.fd);
    }
}

impl Connections {
    /// Stores the socket of a handle and watches it.
    pub fn insert(
        &mut self,
        epoll: &OwnedFd,
        handle: Handle,
        fd: OwnedFd,
        interest: EventFlags,
        connecting: Option<Box<Attempt>>,
    ) -> rustix::io::Result<()> {
        epoll::add(epoll, &fd, token(handle), interest)?;
        let index = handle.index as usize;
        if index >= self.entries.len() {
            self.entries.resize_with(index + 1, || None);
        }
        let generation = handle.generation;
        let new = Connection { fd, generation, interest, finishing: None, connecting };
        self.entries[index] = Some(new);
        Ok(())
    }

    /// Returns a connection unless it is closed.
    #[inline]
    pub fn get(&mut self, handle: Handle) -> Option<&mut Connection> {
        match self.entries.get_mut(handle.index as usize) {
            Some(Some(c)) if c.generation == handle.generation => Some(c),
            _ => None,
        }
    }

    /// Removes a connection; dropping it closes the socket.
    pub fn remove(&mut self, handle: Handle) -> Option<Connection> {
        self.get(handle)?;
        self.entries[handle.index as usize].take()
    }
}

/// Returns the `epoll` token of a connection. The index `u32::MAX` is never a connection's.
fn token(handle: Handle) -> EventData {
    EventData::new_u64(u64::from(handle.generation) << 32 | u64::from(handle.index))
}

/// Index of tokens that are not connections.
const NOT_A_CONNECTION: u32 = u32::MAX;

/// The source of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A connection.
    Connection(Handle),
    /// Another source, numbered by the event loop.
    Other(u32),
}

impl Target {
    /// Decodes a token.
    #[inline]
    pub fn of(data: EventData) -> Target {
        let data = data.u64();
        let (index, generation) = (data as u32, (data >> 32) as u32);
        match index {
            NOT_A_CONNECTION => Target::Other(generation),
            _ => Target::Connection(Handle { index, generation }),
        }
    }

    /// Returns the token of a source other than a connection.
    pub fn other(number: u32) -> EventData {
        EventData::new_u64(u64::from(number) << 32 | u64::from(NOT_A_CONNECTION))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip() {
        let handle = Handle { index: 7, generation: 0xdead_beef };
        assert_eq!(Target::of(token(handle)), Target::Connection(handle));
        assert_eq!(Target::of(Target::other(3)), Target::Other(3));
    }

    #[test]
    fn a_stale_handle_does_not_reach_its_successor() {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut all = Connections::default();
        let old = Handle { index: 2, generation: 1 };
        let new = Handle { index: 2, generation: 2 };
        let socket = || std::os::unix::net::UnixStream::pair().unwrap().0.into();
        all.insert(&epoll, old, socket(), EventFlags::IN, None).unwrap();
        assert!(all.get(old).is_some() && all.get(new).is_none());
        assert!(all.remove(new).is_none() && all.remove(old).is_some());
        all.insert(&epoll, new, socket(), EventFlags::IN, None).unwrap();
        assert!(all.get(old).is_none() && all.get(new).is_some());
    }
}
