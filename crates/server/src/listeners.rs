//! Accepts connections: a bounded number in a round, and without spinning when the process runs out
//! of descriptors.

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

/// Connections accepted from one listener in one round; takes some hundred microseconds.
const ACCEPTS_PER_ROUND: usize = 64;
/// How long accepting is suspended when connections cannot even be refused.
const SUSPENDED_US: u64 = 100_000;
/// Minimum interval of log lines about failing accepts.
const LOG_EVERY_US: u64 = 1_000_000;

const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

/// Listening sockets, and a reserved descriptor to refuse connections with an error when no other
/// is left.
pub struct Listeners {
    list: Vec<Listener>,
    tcp: TcpOptions,
    reserve: Option<OwnedFd>,
    resumes_at: Option<u64>,
    logged_at: u64,
}

/// The outcome of refusing a connection.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// The connection got an error and was closed.
    Done,
    /// No connection was pending: the kernel allocates the descriptor first.
    NonePending,
    /// Not even the reserved descriptor is available.
    Failed,
}

impl Listeners {
    /// Creates an empty set. `backlog`: maximum number of pending connections of a listener.
    pub fn new(backlog: i32) -> Listeners {
        Listeners {
            list: Vec::new(),
            tcp: TcpOptions { backlog, keepalive_secs: 0 },
            reserve: reserve(),
            resumes_at: None,
            logged_at: 0,
        }
    }

    /// Sets the TCP keepalive of connections accepted from now on; 0 disables it.
    pub fn set_keepalive(&mut self, seconds: u32) -> Result<(), String> {
        self.tcp.keepalive_secs = seconds;
        let mut tcp = self.list.iter().filter(|listener| listener.is_tcp());
        tcp.try_for_each(|listener| listen::set_keepalive(&listener.fd, seconds))
            .map_err(|errno| errno.to_string())
    }

    /// Iterates over the listeners.
    pub fn iter(&self) -> impl Iterator<Item = &Listener> {
        self.list.iter()
    }

    /// Whether there are no listeners.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds listeners.
    pub fn open(&mut self, epoll: &OwnedFd, listeners: Vec<Listener>) -> rustix::io::Result<()> {
        self.list.extend(listeners);
        self.watch(epoll)
    }

    /// Registers all listeners again: their indexes, and so their tokens, may have changed.
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

    /// Returns when accepting resumes, if it is suspended.
    pub fn resumes_at(&self) -> Option<u64> {
        self.resumes_at
    }

    /// Resumes accepting when due.
    pub fn resume_if_due(&mut self, epoll: &OwnedFd, mono_us: u64) {
        if self.resumes_at.is_some_and(|at| at <= mono_us) {
            self.resumes_at = None;
            let _ = self.watch(epoll);
        }
    }

    fn suspend(&mut self, epoll: &OwnedFd, mono_us: u64) {
        self.resumes_at = Some(mono_us + SUSPENDED_US);
        for (listener, number) in self.list.iter().zip(LISTENERS..) {
            let _ = epoll::modify(epoll, &listener.fd, Target::other(number), EventFlags::empty());
        }
    }

    /// Replaces the TCP listeners; on failure the old ones stay.
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
        let (kept, removed): (Vec<_>, Vec<_>) = all.into_iter().partition(is_wanted);
        let removed_addresses: Vec<_> = removed.iter().filter_map(|l| l.tcp_address()).collect();
        self.list = kept;
        // On another port the old ones stay open until the new ones are. On the same port they are
        // closed first: a wildcard address cannot be bound together with a specific one.
        let mut removed =
            Some(removed).filter(|_| removed_addresses.iter().all(|a| a.port() != port));
        let result = listen::tcp(service, &missing, port, self.tcp);
        let result = match (result, removed.take()) {
            (Ok(new), _) => {
                self.list.extend(new);
                Ok(())
            }
            (Err(why), Some(removed)) => {
                self.list.extend(removed);
                Err(why)
            }
            (Err(why), None) => {
                for address in removed_addresses {
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

    /// Removes the files of Unix sockets.
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
            Err(Errno::AGAIN) => Refusal::NonePending,
            Err(_) => Refusal::Failed,
        };
        self.reserve = reserve();
        if self.reserve.is_some() { refusal } else { Refusal::Failed }
    }

    fn log_failure(&mut self, mono_us: u64, errno: Errno) {
        if self.logged_at == 0 || mono_us - self.logged_at >= LOG_EVERY_US {
            self.logged_at = mono_us;
            let why = error_text(&errno.into());
            log::warning(&format!("Accepting client connection: accept: {why}"));
        }
    }
}

fn reserve() -> Option<OwnedFd> {
    rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
}

impl<E: Engine> EventLoop<E> {
    /// Accepts pending connections of a listener.
    pub(crate) fn accept_pending(&mut self, index: usize) {
        for _ in 0..ACCEPTS_PER_ROUND {
            let Some(listener) = self.resources.listeners.list.get(index) else { return };
            match listener.accept() {
                Ok((fd, ends)) => {
                    let service = listener.service;
                    self.register(fd, service, ends);
                }
                Err(Errno::AGAIN) => return,
                // The client disconnected before it was accepted.
                Err(Errno::INTR | Errno::CONNABORTED | Errno::NOTCONN | Errno::PROTO) => {}
                Err(errno) => {
                    let mono_us = self.now.mono_us;
                    self.resources.listeners.log_failure(mono_us, errno);
                    match self.resources.listeners.refuse(index) {
                        Refusal::Done => {}
                        Refusal::NonePending => return,
                        Refusal::Failed => {
                            return self
                                .resources
                                .listeners
                                .suspend(&self.resources.epoll, mono_us);
                        }
                    }
                }
            }
        }
    }

    fn register(&mut self, fd: OwnedFd, service: Service, ends: Endpoints) {
        match self.node.accept(self.now, service, ends) {
            Ok(handle) => {
                let added = self.connections.insert(
                    &self.resources.epoll,
                    handle,
                    fd,
                    EventFlags::IN,
                    None,
                );
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

    /// Listens on a free loopback port.
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
    fn a_wildcard_may_replace_one_of_its_addresses() {
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
    fn a_failed_rebind_keeps_the_listeners() {
        let mut f = fixture();
        let taken = TcpListener::bind((LOCAL, 0)).unwrap();
        let other = taken.local_addr().unwrap().port();
        let why = rebind(&mut f, LOCAL, other).unwrap_err();
        assert_eq!(why, "bind: Address already in use");
        TcpStream::connect((LOCAL, f.port)).unwrap();
        assert!(f.listeners.list[0].accept().is_ok());
        // The same if the old listener had to be closed first.
        let port = f.port;
        assert!(rebind(&mut f, "192.0.2.1", port).is_err());
        TcpStream::connect((LOCAL, port)).unwrap();
    }

    /// Returns how many listeners are ready.
    fn ready_count(epoll: &OwnedFd) -> usize {
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
        assert_eq!(f.listeners.refuse(0), Refusal::NonePending);
        assert!(f.listeners.reserve.is_some());
    }

    #[test]
    fn suspended_listeners_report_no_events() {
        let mut f = fixture();
        let _client = TcpStream::connect((LOCAL, f.port)).unwrap();
        assert_eq!(ready_count(&f.epoll), 1);
        f.listeners.suspend(&f.epoll, 1000);
        assert_eq!(ready_count(&f.epoll), 0);
        assert_eq!(f.listeners.resumes_at(), Some(1000 + SUSPENDED_US));
        f.listeners.resume_if_due(&f.epoll, 999 + SUSPENDED_US);
        assert_eq!(ready_count(&f.epoll), 0);
        f.listeners.resume_if_due(&f.epoll, 1000 + SUSPENDED_US);
        assert_eq!((ready_count(&f.epoll), f.listeners.resumes_at()), (1, None));
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
