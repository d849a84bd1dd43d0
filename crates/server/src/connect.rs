//! Outgoing connections: nonblocking sockets, and name lookups on a thread.
//!
//! The node enforces timeouts by closing the connection.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;

use russet_engine::io::Handle;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use crate::completions::{Completion, Reporter};
use crate::listen;
use crate::sys::error_text;

/// Returns the address if `host` is an IP address.
pub fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, port))
}

/// Looks up a name on a separate thread, which reports `Resolved`.
pub fn resolve(link: Handle, host: String, port: u16, reporter: Reporter) {
    let fallback = reporter.clone();
    let spawned = std::thread::Builder::new().name("russet-resolve".into()).spawn(move || {
        let addresses = (host.as_str(), port)
            .to_socket_addrs()
            .map(|found| found.collect())
            .map_err(|error| resolver_text(&error));
        reporter.report(Completion::Resolved { link, addresses });
    });
    if let Err(error) = spawned {
        let addresses = Err(error_text(&error));
        fallback.report(Completion::Resolved { link, addresses });
    }
}

/// Returns the resolver's message without the prefix that std adds.
fn resolver_text(error: &std::io::Error) -> String {
    let text = error_text(error);
    match text.strip_prefix("failed to lookup address information: ") {
        Some(rest) => rest.to_string(),
        None => text,
    }
}

/// Opens a socket and starts connecting it; it becomes writable when the outcome is known.
pub fn start(
    to: SocketAddr,
    source: Option<IpAddr>,
    keepalive_secs: u32,
) -> rustix::io::Result<OwnedFd> {
    let family = match to {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    listen::set_keepalive(&fd, keepalive_secs)?;
    if let Some(source) = source.filter(|s| s.is_ipv4() == to.is_ipv4()) {
        sockopt::set_socket_reuseaddr(&fd, true)?;
        net::bind(&fd, &SocketAddr::new(source, 0))?;
    }
    match net::connect(&fd, &to) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(fd),
        Err(error) => Err(error),
    }
}

/// Returns the peer's and the local address of a connected socket, or why the attempt failed.
pub fn finish(fd: &impl std::os::fd::AsFd) -> rustix::io::Result<(SocketAddr, SocketAddr)> {
    sockopt::socket_error(fd)??;
    let peer = net::getpeername(fd)?.ok_or(Errno::NOTCONN)?;
    let local = net::getsockname(fd)?;
    Ok((SocketAddr::try_from(peer)?, SocketAddr::try_from(local)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_need_no_resolver() {
        assert_eq!(literal("127.0.0.1", 7), Some("127.0.0.1:7".parse().unwrap()));
        assert_eq!(literal("::1", 7), Some("[::1]:7".parse().unwrap()));
        assert_eq!(literal("localhost", 7), None);
        assert_eq!(literal("1.2.3", 7), None);
    }
}
