//! Taking connections in: a bounded number in a round, and without spinning when there are no
//! descriptors left for them.

use std::os::fd::OwnedFd;

use russet_engine::io::{Endpoints, Input, Service};
use rustix::event::epoll::{self, EventFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::connections::Target;
use crate::engine::Engine;
use crate::event_loop::{EventLoop, LISTENERS};
use crate::listen::{self, Listener, TcpOptions};
use crate::log;
use crate::sys::error_text;

/// Connections taken in from one listener in one round: some hundred microseconds' worth.
const ACCEPTS_PER_ROUND: usize = 64;
/// How long nobody is let in when even refusing is impossible.
const CLOSED_US: u64 = 100_000;
/// A line of the log for that often enough.
const COMPLAIN_EVERY_US: u64 = 1_000_000;

const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

/// Where connections come in, and the descriptor kept to refuse politely when there is no other.
pub struct Listeners {
    list: Vec<Listener>,
    tcp: TcpOptions,
    reserve: Option<OwnedFd>,
    reopens_at: Option<u64>,
    complained_at: u64,
}

/// What became of a connection that there is no descriptor for.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// It was told, and closed.
    Done,
    /// There is none: the kernel looks for a descriptor first.
    Nobody,
    /// Not even the reserved descriptor is to be had.
    Impossible,
}

impl Listeners {
    /// No listeners. `backlog`: connections that may wait to be accepted.
    pub fn new(backlog: i32) -> Listeners {
        Listeners {
            list: Vec::new(),
            tcp: TcpOptions { backlog, keepalive_secs: 0 },
            reserve: reserve(),
            reopens_at: None,
            complained_at: 0,
        }
    }

    /// Connections that come from now on are probed after so many silent seconds; 0: never.
    pub fn set_keepalive(&mut self, seconds: u32) -> Result<(), String> {
        self.tcp.keepalive_secs = seconds;
        let mut tcp = self.list.iter().filter(|listener| listener.is_tcp());
        tcp.try_for_each(|listener| listen::set_keepalive(&listener.fd, seconds))
            .map_err(|errno| errno.to_string())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Listener> {
        self.list.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Takes connections in by these.
    pub fn open(&mut self, epoll: &OwnedFd, listeners: Vec<Listener>) -> rustix::io::Result<()> {
        self.list.extend(listeners);
        self.watch(epoll)
    }

    /// Tells the kernel of all listeners anew: their places, and so their tokens, may have changed.
    fn watch(&self, epoll: &OwnedFd) -> rustix::io::Result<()> {
        for (listener, number) in self.list.iter().zip(LISTENERS..) {
            let token = Target::other(number);
            match epoll::add(epoll, &listener.fd, token, EventFlags::IN) {
                Err(Errno::EXIST) => epoll::modify(epoll, &listener.fd, token, EventFlags::IN)?,
                other => other?,
            }
        }
        Ok(())
    }

    /// When they must be looked at again.
    pub fn reopens_at(&self) -> Option<u64> {
        self.reopens_at
    }

    /// Lets connections in again when it is time.
    pub fn reopen_if_due(&mut self, epoll: &OwnedFd, mono_us: u64) {
        if self.reopens_at.is_some_and(|at| at <= mono_us) {
            self.reopens_at = None;
            let _ = self.watch(epoll);
        }
    }

    fn shut(&mut self, epoll: &OwnedFd, mono_us: u64) {
        self.reopens_at = Some(mono_us + CLOSED_US);
        for (listener, number) in self.list.iter().zip(LISTENERS..) {
            let _ = epoll::modify(epoll, &listener.fd, Target::other(number), EventFlags::empty());
        }
    }

    /// Listens on these addresses instead of those before; if that cannot be, all stays as it was.
    pub fn rebind(
        &mut self,
        epoll: &OwnedFd,
        service: Service,
        bind: &[String],
        port: u16,
    ) -> Result<(), String> {
        let wanted = if port == 0 { Vec::new() } else { listen::addresses(bind, port) };
        let is_wanted = |l: &Listener| {
            l.service != service || l.tcp_address().is_none_or(|a| wanted.contains(&a))
        };
        let ours = self.list.iter().filter(|l| l.service == service);
        let old_addresses: Vec<_> = ours.filter_map(Listener::tcp_address).collect();
        let missing: Vec<String> = bind
            .iter()
            .filter(|_| port != 0)
            .filter(|&entry| {
                let found = listen::addresses(std::slice::from_ref(entry), port);
                found.is_empty() || found.iter().any(|a| !old_addresses.contains(a))
            })
            .cloned()
            .collect();
        let all = std::mem::take(&mut self.list);
        let (kept, gone): (Vec<_>, Vec<_>) = all.into_iter().partition(is_wanted);
        let gone_addresses: Vec<_> = gone.iter().filter_map(|l| l.tcp_address()).collect();
        self.list = kept;
        // On another port the old ones stay until the new ones stand. On the same port they go first:
        // a wildcard cannot be bound beside one of its addresses.
        let mut gone = Some(gone).filter(|_| gone_addresses.iter().all(|a| a.port() != port));
        let result = listen::tcp(service, &missing, port, self.tcp);
        let result = match (result, gone.take()) {
            (Ok(new), _) => {
                self.list.extend(new);
                Ok(())
            }
            (Err(why), Some(gone)) => {
                self.list.extend(gone);
                Err(why)
            }
            (Err(why), None) => {
                for address in gone_addresses {
                    let back =
                        listen::tcp(service, &[address.ip().to_string()], address.port(), self.tcp);
                    self.list.extend(back.unwrap_or_default());
                }
                Err(why)
            }
        };
        self.watch(epoll).map_err(|errno| error_text(&errno.into()))?;
        result
    }

    /// Removes what listeners have left in the file system.
    pub fn remove_files(&self) {
        self.list.iter().for_each(Listener::remove_file);
    }

    /// Refuses one connection with the reserved descriptor.
    fn refuse(&mut self, index: usize) -> Refusal {
        self.reserve = None;
        let refusal = match self.list[index].accept() {
            Ok((fd, _)) => {
                let _ = rustix::net::send(&fd, TOO_MANY, SendFlags::NOSIGNAL);
                Refusal::Done
            }
            Err(Errno::AGAIN) => Refusal::Nobody,
            Err(_) => Refusal::Impossible,
        };
        self.reserve = reserve();
        if self.reserve.is_some() { refusal } else { Refusal::Impossible }
    }

    fn complain(&mut self, mono_us: u64, errno: Errno) {
        if self.complained_at == 0 || mono_us - self.complained_at >= COMPLAIN_EVERY_US {
            self.complained_at = mono_us;
            let why = error_text(&errno.into());
            log::warning(&format!("Accepting client connection: accept: {why}"));
        }
    }
}

fn reserve() -> Option<OwnedFd> {
    rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
}

impl<E: Engine> EventLoop<E> {
    /// Takes in what waits at a listener.
    pub(crate) fn accept_some(&mut self, index: usize) {
        for _ in 0..ACCEPTS_PER_ROUND {
            let Some(listener) = self.world.listeners.list.get(index) else { return };
            match listener.accept() {
                Ok((fd, ends)) => {
                    let service = listener.service;
                    self.welcome(fd, service, ends);
                }
                Err(Errno::AGAIN) => return,
                // It left before its turn came.
                Err(Errno::INTR | Errno::CONNABORTED | Errno::NOTCONN | Errno::PROTO) => {}
                Err(errno) => {
                    let mono_us = self.now.mono_us;
                    self.world.listeners.complain(mono_us, errno);
                    match self.world.listeners.refuse(index) {
                        Refusal::Done => {}
                        Refusal::Nobody => return,
                        Refusal::Impossible => {
                            return self.world.listeners.shut(&self.world.epoll, mono_us);
                        }
                    }
                }
            }
        }
    }

    fn welcome(&mut self, fd: OwnedFd, service: Service, ends: Endpoints) {
        match self.node.accept(self.now, service, ends) {
            Ok(handle) => {
                let added =
                    self.connections.insert(&self.world.epoll, handle, fd, EventFlags::IN, None);
                if added.is_err() {
                    self.inputs.push_back(Input::Closed(handle));
                }
            }
            Err(refusal) => {
                let _ = rustix::net::send(&fd, &refusal, SendFlags::NOSIGNAL);
            }
        }
        self.perform_outputs();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    const LOCAL: &str = "127.0.0.1";

    struct Fixture {
        epoll: OwnedFd,
        listeners: Listeners,
        port: u16,
    }

    /// Listeners on a free port of this machine.
    fn fixture() -> Fixture {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut listeners = Listeners::new(4);
        let free = TcpListener::bind((LOCAL, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        listeners.rebind(&epoll, Service::Clients, &[LOCAL.to_string()], port).unwrap();
        Fixture { epoll, listeners, port }
    }

    fn rebind(fixture: &mut Fixture, address: &str, port: u16) -> Result<(), String> {
        fixture.listeners.rebind(&fixture.epoll, Service::Clients, &[address.to_string()], port)
    }

    #[test]
    fn all_addresses_may_follow_one_of_them() {
        let mut f = fixture();
        let port = f.port;
        rebind(&mut f, "*", port).unwrap();
        assert_eq!(f.listeners.list.len(), 1);
        assert!(f.listeners.list[0].tcp_address().unwrap().ip().is_unspecified());
        TcpStream::connect((LOCAL, port)).unwrap();
        rebind(&mut f, LOCAL, port).unwrap();
        TcpStream::connect((LOCAL, port)).unwrap();
    }

    #[test]
    fn a_port_that_cannot_be_had_changes_nothing() {
        let mut f = fixture();
        let taken = TcpListener::bind((LOCAL, 0)).unwrap();
        let other = taken.local_addr().unwrap().port();
        let why = rebind(&mut f, LOCAL, other).unwrap_err();
        assert_eq!(why, "bind: Address already in use");
        TcpStream::connect((LOCAL, f.port)).unwrap();
        assert!(f.listeners.list[0].accept().is_ok());
        // The same if the old listener had to go first.
        let port = f.port;
        assert!(rebind(&mut f, "192.0.2.1", port).is_err());
        TcpStream::connect((LOCAL, port)).unwrap();
    }

    /// How many listeners `epoll` says are ready now.
    fn knocks(epoll: &OwnedFd) -> usize {
        let mut events = Vec::with_capacity(8);
        let at_once = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(epoll, rustix::buffer::spare_capacity(&mut events), Some(&at_once)).unwrap()
    }

    #[test]
    fn a_connection_is_refused_with_the_reserved_descriptor() {
        let mut f = fixture();
        let mut client = TcpStream::connect((LOCAL, f.port)).unwrap();
        assert_eq!(f.listeners.refuse(0), Refusal::Done);
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text.as_bytes(), TOO_MANY);
        assert_eq!(f.listeners.refuse(0), Refusal::Nobody);
        assert!(f.listeners.reserve.is_some());
    }

    #[test]
    fn listeners_that_are_shut_wakes_nobody_until_it_opens_again() {
        let mut f = fixture();
        let _client = TcpStream::connect((LOCAL, f.port)).unwrap();
        assert_eq!(knocks(&f.epoll), 1);
        f.listeners.shut(&f.epoll, 1000);
        assert_eq!(knocks(&f.epoll), 0);
        assert_eq!(f.listeners.reopens_at(), Some(1000 + CLOSED_US));
        f.listeners.reopen_if_due(&f.epoll, 999 + CLOSED_US);
        assert_eq!(knocks(&f.epoll), 0);
        f.listeners.reopen_if_due(&f.epoll, 1000 + CLOSED_US);
        assert_eq!((knocks(&f.epoll), f.listeners.reopens_at()), (1, None));
        assert!(f.listeners.list[0].accept().is_ok());
    }

    #[test]
    fn port_0_listens_nowhere() {
        let mut f = fixture();
        rebind(&mut f, LOCAL, 0).unwrap();
        assert!(f.listeners.list.is_empty());
        assert!(TcpStream::connect((LOCAL, f.port)).is_err());
    }
}
