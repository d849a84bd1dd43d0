//! The sockets of connections, in the places that the node gave them.
//!
//! The node numbers connections (index and generation); this table holds their descriptors and what
//! `epoll` was last told about each. It does not know whether a connection is a client, a replica
//! or a link to a master.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use russet_engine::io::Handle;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::net::RecvFlags;

/// How often unread bytes are read to be thrown away.
const DISCARD_READS: usize = 16;

/// One socket.
pub struct Connection {
    fd: OwnedFd,
    generation: u32,
    interest: EventFlags,
    /// The far end will send nothing more; rounds since then without output.
    pub finishing: Option<u32>,
    /// An outgoing connection that does not stand yet.
    pub connecting: Option<Box<Attempt>>,
}

/// An outgoing connection under way.
pub struct Attempt {
    /// Addresses not tried yet, last first.
    pub untried: Vec<SocketAddr>,
}

/// See the module.
#[derive(Default)]
pub struct Connections {
    places: Vec<Option<Connection>>,
}

impl Connection {
    /// The socket.
    #[inline]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether a full socket is being waited for.
    #[inline]
    pub fn wants_write(&self) -> bool {
        self.interest.contains(EventFlags::OUT)
    }

    /// Whether bytes to read are being waited for.
    #[inline]
    pub fn wants_read(&self) -> bool {
        self.interest.contains(EventFlags::IN)
    }

    /// Throws away what was sent and not read, up to a bound.
    pub fn discard_unread(&self) {
        let mut bytes = [0; 8192];
        for _ in 0..DISCARD_READS {
            match rustix::net::recv(&self.fd, &mut bytes[..], RecvFlags::DONTWAIT) {
                Ok((read, _)) if read == bytes.len() => {}
                _ => return,
            }
        }
    }

    /// Changes what is waited for, if that is a change.
    pub fn set_interest(&mut self, epoll: &OwnedFd, handle: Handle, interest: EventFlags) {
        if self.interest != interest {
            self.interest = interest;
            // A descriptor that `epoll` does not know was taken out on purpose (see `mute`).
            let _ = epoll::modify(epoll, &self.fd, token(handle), interest);
        }
    }

    /// Also waits for room to write, or no longer does.
    pub fn set_wants_write(&mut self, epoll: &OwnedFd, handle: Handle, wanted: bool) {
        let mut interest = self.interest;
        interest.set(EventFlags::OUT, wanted);
        self.set_interest(epoll, handle, interest);
    }

    /// Waits for bytes to read, or no longer does.
    pub fn set_wants_read(&mut self, epoll: &OwnedFd, handle: Handle, wanted: bool) {
        let mut interest = self.interest;
        interest.set(EventFlags::IN, wanted);
        self.set_interest(epoll, handle, interest);
    }

    /// Hears nothing more of a socket, not even that it broke, which `epoll` otherwise always tells.
    pub fn mute(&mut self, epoll: &OwnedFd) {
        let _ = epoll::delete(epoll, &self.fd);
    }
}

impl Connections {
    /// Puts a socket into the place of its handle and watches it.
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
        if index >= self.places.len() {
            self.places.resize_with(index + 1, || None);
        }
        let generation = handle.generation;
        let new = Connection { fd, generation, interest, finishing: None, connecting };
        self.places[index] = Some(new);
        Ok(())
    }

    /// The connection, unless it is gone.
    #[inline]
    pub fn get(&mut self, handle: Handle) -> Option<&mut Connection> {
        match self.places.get_mut(handle.index as usize) {
            Some(Some(c)) if c.generation == handle.generation => Some(c),
            _ => None,
        }
    }

    /// Takes a connection out; dropping it closes the socket.
    pub fn remove(&mut self, handle: Handle) -> Option<Connection> {
        self.get(handle)?;
        self.places[handle.index as usize].take()
    }
}

/// What `epoll` hands back for a connection. The index `u32::MAX` never is a connection's.
fn token(handle: Handle) -> EventData {
    EventData::new_u64(u64::from(handle.generation) << 32 | u64::from(handle.index))
}

/// Index in tokens that are not connections.
const NOT_A_CONNECTION: u32 = u32::MAX;

/// Who an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A connection.
    Connection(Handle),
    /// Something else, numbered by the loop.
    Other(u32),
}

impl Target {
    /// Reads a token.
    #[inline]
    pub fn of(data: EventData) -> Target {
        let data = data.u64();
        let (index, generation) = (data as u32, (data >> 32) as u32);
        match index {
            NOT_A_CONNECTION => Target::Other(generation),
            _ => Target::Connection(Handle { index, generation }),
        }
    }

    /// A token for something that is no connection.
    pub fn other(number: u32) -> EventData {
        EventData::new_u64(u64::from(number) << 32 | u64::from(NOT_A_CONNECTION))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_as_they_went() {
        let handle = Handle { index: 7, generation: 0xdead_beef };
        assert_eq!(Target::of(token(handle)), Target::Connection(handle));
        assert_eq!(Target::of(Target::other(3)), Target::Other(3));
    }

    #[test]
    fn an_old_handle_does_not_reach_the_new_tenant_of_its_place() {
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
