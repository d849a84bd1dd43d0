//! Listening sockets: TCP on a list of addresses, and a Unix socket.
//!
//! Options that accepted sockets inherit (no delay, keepalive) are set once on the listener.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use russet_engine::io::{Endpoints, Service};
use rustix::io::Errno;
use rustix::net::{
    self, AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, sockopt,
};

use crate::log;
use crate::sys::error_text;

/// A listening socket.
pub struct Listener {
    /// The socket.
    pub fd: OwnedFd,
    /// Whom it is for.
    pub service: Service,
    place: Place,
}

impl Listener {
    /// Whether it listens on a TCP port.
    pub fn is_tcp(&self) -> bool {
        matches!(self.place, Place::Tcp(_))
    }
}

enum Place {
    Tcp(SocketAddr),
    Unix(UnixPlace),
}

struct UnixPlace {
    /// The path as configured.
    path: String,
    /// The absolute path: the working directory may change.
    file: PathBuf,
    /// Device and inode, to remove the file only if this listener created it.
    identity: (u64, u64),
}

/// Options of all TCP listeners.
#[derive(Clone, Copy, Debug)]
pub struct TcpOptions {
    /// Maximum number of pending connections.
    pub backlog: i32,
    /// Idle seconds before keepalive probes; 0: no keepalive.
    pub keepalive_secs: u32,
}

/// Why a listener could not be created.
#[derive(Debug)]
pub struct ListenError {
    text: String,
    errno: Errno,
}

impl std::fmt::Display for ListenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

fn step<T>(what: &'static str, result: rustix::io::Result<T>) -> Result<T, ListenError> {
    result.map_err(|errno| ListenError {
        text: format!("{what}: {}", error_text(&errno.into())),
        errno,
    })
}

/// The longest idle time before keepalive probes that Linux accepts.
const KEEPALIVE_SECS_MAX: u32 = 32_767;

/// Enables TCP keepalive: three probes after this many idle seconds, or as many as Linux allows; 0 disables it.
pub fn set_keepalive(fd: &impl AsFd, seconds: u32) -> rustix::io::Result<()> {
    sockopt::set_socket_keepalive(fd, seconds > 0)?;
    if seconds > 0 {
        let seconds = seconds.min(KEEPALIVE_SECS_MAX);
        sockopt::set_tcp_keepidle(fd, Duration::from_secs(seconds.into()))?;
        let interval = (seconds / 3).max(1);
        sockopt::set_tcp_keepintvl(fd, Duration::from_secs(interval.into()))?;
        sockopt::set_tcp_keepcnt(fd, 3)?;
    }
    Ok(())
}

/// An entry of the `bind` list; an optional one begins with `-`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BindAddress<'a> {
    text: &'a str,
    optional: bool,
}

impl<'a> BindAddress<'a> {
    fn of(entry: &'a str) -> BindAddress<'a> {
        match entry.strip_prefix('-') {
            Some(text) => BindAddress { text, optional: true },
            None => BindAddress { text: entry, optional: false },
        }
    }

    /// Returns the address; `*` and `::*` are the wildcards of IPv4 and IPv6.
    fn ip(self) -> Result<IpAddr, ListenError> {
        match self.text {
            "*" => Ok(Ipv4Addr::UNSPECIFIED.into()),
            "::*" => Ok(Ipv6Addr::UNSPECIFIED.into()),
            text => match text.parse() {
                Ok(ip) => Ok(ip),
                Err(_) => self.look_up(),
            },
        }
    }

    /// Looks up a name and waits for the result: without it the server cannot start.
    fn look_up(self) -> Result<IpAddr, ListenError> {
        use std::net::ToSocketAddrs;
        let found = (self.text, 0).to_socket_addrs().ok().and_then(|mut found| found.next());
        found.map(|address| address.ip()).ok_or(ListenError {
            text: "Name or service not known".into(),
            errno: Errno::ADDRNOTAVAIL,
        })
    }

    /// Whether this error of an optional address is ignored.
    fn may_lack(self, errno: Errno) -> bool {
        let no_such_family = [
            Errno::NOPROTOOPT,
            Errno::PROTONOSUPPORT,
            Errno::SOCKTNOSUPPORT,
            Errno::PFNOSUPPORT,
            Errno::AFNOSUPPORT,
        ];
        no_such_family.contains(&errno) || (self.optional && errno == Errno::ADDRNOTAVAIL)
    }
}

/// Listens on a port of each address. If a required one fails, there are no listeners and the log
/// says why.
pub fn tcp(
    service: Service,
    bind: &[String],
    port: u16,
    options: TcpOptions,
) -> Result<Vec<Listener>, String> {
    let mut listeners = Vec::new();
    for entry in bind {
        let address = BindAddress::of(entry);
        match address.ip().and_then(|ip| listen_tcp(service, SocketAddr::new(ip, port), options)) {
            Ok(listener) => listeners.push(listener),
            Err(error) => {
                let text = address.text;
                log::warning(&format!(
                    "Warning: Could not create server TCP listening socket {text}:{port}: {error}"
                ));
                if !address.may_lack(error.errno) {
                    return Err(error.to_string());
                }
            }
        }
    }
    Ok(listeners)
}

fn listen_tcp(
    service: Service,
    address: SocketAddr,
    options: TcpOptions,
) -> Result<Listener, ListenError> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = step("socket", net::socket_with(family, SocketType::STREAM, flags, None))?;
    if address.is_ipv6() {
        step("setsockopt", sockopt::set_ipv6_v6only(&fd, true))?;
    }
    step("setsockopt SO_REUSEADDR", sockopt::set_socket_reuseaddr(&fd, true))?;
    step("setsockopt TCP_NODELAY", sockopt::set_tcp_nodelay(&fd, true))?;
    step("setsockopt SO_KEEPALIVE", set_keepalive(&fd, options.keepalive_secs))?;
    step("bind", net::bind(&fd, &address))?;
    step("listen", net::listen(&fd, options.backlog))?;
    Ok(Listener { fd, service, place: Place::Tcp(address) })
}

/// Listens on a Unix socket. Its permissions are set before it accepts connections.
pub fn unix(path: &str, mode: Option<u32>, backlog: i32) -> Result<Listener, String> {
    remove_abandoned(path)?;
    listen_unix(path, mode, backlog).map_err(|error| error.to_string())
}

/// Removes the socket that a crashed server left. One that somebody listens on is an error, and so is
/// anything else at this path.
fn remove_abandoned(path: &str) -> Result<(), String> {
    let old = match fs::symlink_metadata(path) {
        Ok(old) if !old.file_type().is_socket() => {
            return Err("the path exists and is not a socket".into());
        }
        Ok(old) => (old.dev(), old.ino()),
        Err(_) => return Ok(()),
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let probe = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
    let probed = probe.and_then(|fd| net::connect(&fd, &SocketAddrUnix::new(path)?));
    match probed {
        Err(Errno::CONNREFUSED) if identity(Path::new(path)) == Some(old) => {
            fs::remove_file(path).map_err(|error| error_text(&error))
        }
        Err(Errno::NOENT) => Ok(()),
        // AGAIN: too many connections are pending.
        Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE | Errno::CONNREFUSED) => {
            Err("another process listens on it".into())
        }
        Err(errno) => Err(format!(
            "the socket exists, and whether another process listens on it is unknown: {}",
            error_text(&errno.into())
        )),
    }
}

fn listen_unix(path: &str, mode: Option<u32>, backlog: i32) -> Result<Listener, ListenError> {
    let listener = bind_unix(path, mode)?;
    step("listen", net::listen(&listener.fd, backlog))?;
    Ok(listener)
}

/// Binds a Unix socket and sets its permissions. Nobody can connect to it yet.
fn bind_unix(path: &str, mode: Option<u32>) -> Result<Listener, ListenError> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd =
        step("socket", net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None))?;
    let address = step("bind", SocketAddrUnix::new(path))?;
    step("bind", net::bind(&fd, &address))?;
    if let Some(mode) = mode {
        let set = fs::set_permissions(path, fs::Permissions::from_mode(mode));
        step("chmod", set.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
    }
    let identity = identity(Path::new(path)).unwrap_or_default();
    let file = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let place = UnixPlace { path: path.to_string(), file, identity };
    Ok(Listener { fd, service: Service::Clients, place: Place::Unix(place) })
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|m| (m.dev(), m.ino()))
}

impl Listener {
    /// Accepts the next pending connection.
    pub fn accept(&self) -> rustix::io::Result<(OwnedFd, Endpoints)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (fd, peer) = net::acceptfrom_with(&self.fd, flags)?;
        let ends = match &self.place {
            Place::Unix(place) => Endpoints::Unix(place.path.clone()),
            Place::Tcp(address) => tcp_ends(&fd, *address, peer)?,
        };
        Ok((fd, ends))
    }

    /// Returns the address for log lines.
    pub fn display(&self) -> String {
        match &self.place {
            Place::Tcp(address) => address.to_string(),
            Place::Unix(place) => place.path.clone(),
        }
    }

    /// Returns the TCP address.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match &self.place {
            Place::Tcp(address) => Some(*address),
            Place::Unix(_) => None,
        }
    }

    /// Removes the file of a Unix socket if this listener created it.
    pub fn remove_file(&self) {
        if let Place::Unix(place) = &self.place
            && identity(&place.file) == Some(place.identity)
        {
            log::notice("Removing the unix socket file.");
            if let Err(error) = fs::remove_file(&place.file) {
                let why = error_text(&error);
                log::warning(&format!("Error removing the unix socket file: {why}"));
            }
        }
    }
}

fn tcp_ends(
    fd: &OwnedFd,
    listens_at: SocketAddr,
    peer: Option<SocketAddrAny>,
) -> rustix::io::Result<Endpoints> {
    let peer = SocketAddr::try_from(peer.ok_or(Errno::NOTCONN)?)?;
    let local = if listens_at.ip().is_unspecified() {
        SocketAddr::try_from(net::getsockname(fd)?)?
    } else {
        listens_at
    };
    Ok(Endpoints::Tcp { peer, local })
}

/// Returns the addresses of a `bind` list that can be resolved.
pub fn addresses(bind: &[String], port: u16) -> Vec<SocketAddr> {
    bind.iter()
        .filter_map(|entry| BindAddress::of(entry).ip().ok())
        .map(|ip| SocketAddr::new(ip, port))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    const OPTIONS: TcpOptions = TcpOptions { backlog: 16, keepalive_secs: 300 };

    #[test]
    fn bind_entries_name_addresses() {
        assert_eq!(BindAddress::of("*").ip().unwrap(), Ipv4Addr::UNSPECIFIED);
        let all6 = BindAddress::of("-::*");
        assert!(all6.optional);
        assert_eq!(all6.ip().unwrap(), Ipv6Addr::UNSPECIFIED);
        assert_eq!(BindAddress::of("-127.0.0.1").ip().unwrap(), Ipv4Addr::LOCALHOST);
    }

    #[test]
    fn a_missing_address_is_an_error_unless_it_is_optional() {
        // TEST-NET-1 is assigned to no host.
        let needed = tcp(Service::Clients, &["192.0.2.1".into()], 0, OPTIONS);
        assert_eq!(needed.err().as_deref(), Some("bind: Cannot assign requested address"));
        let name = tcp(Service::Clients, &["nohost.invalid".into()], 0, OPTIONS);
        assert_eq!(name.err().as_deref(), Some("Name or service not known"));
        let listeners =
            tcp(Service::Clients, &["-192.0.2.1".into(), "127.0.0.1".into()], 0, OPTIONS).unwrap();
        assert_eq!(listeners.len(), 1);
    }

    #[test]
    fn a_port_in_use_is_reported() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = tcp(Service::Clients, &["127.0.0.1".into()], port, OPTIONS).err();
        assert_eq!(error.as_deref(), Some("bind: Address already in use"));
    }

    #[test]
    fn accepted_sockets_inherit_what_the_listener_has() {
        let listener = tcp(Service::Clients, &["127.0.0.1".into()], 0, OPTIONS).unwrap().remove(0);
        let at = SocketAddr::try_from(net::getsockname(&listener.fd).unwrap()).unwrap();
        let client = std::net::TcpStream::connect(at).unwrap();
        let (fd, ends) = listener.accept().unwrap();
        assert!(sockopt::tcp_nodelay(&fd).unwrap() && sockopt::socket_keepalive(&fd).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&fd).unwrap().as_secs(), 300);
        assert_eq!(sockopt::tcp_keepintvl(&fd).unwrap().as_secs(), 100);
        set_keepalive(&fd, u32::MAX).unwrap();
        assert_eq!(sockopt::tcp_keepidle(&fd).unwrap().as_secs(), u64::from(KEEPALIVE_SECS_MAX));
        let Endpoints::Tcp { peer, .. } = ends else { panic!("{ends:?}") };
        assert_eq!(peer, client.local_addr().unwrap());
        assert_eq!(listener.accept().err(), Some(Errno::AGAIN));
    }

    #[test]
    fn a_unix_socket_has_its_mode_and_replaces_only_a_socket() {
        let dir = crate::testing::directory("unix-socket");
        let path = dir.path().join("s");
        let text = path.to_str().unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(unix(text, None, 4).is_err());
        fs::remove_file(&path).unwrap();
        drop(unix(text, Some(0o700), 4).unwrap());
        let listener = unix(text, Some(0o600), 4).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
        assert!(matches!(listener.accept().unwrap().1, Endpoints::Unix(p) if p == text));
        fs::remove_file(&path).unwrap();
        let successor = unix(text, None, 4).unwrap();
        listener.remove_file();
        assert!(path.exists(), "it belongs to its successor");
        successor.remove_file();
        assert!(!path.exists());
    }

    #[test]
    fn a_unix_socket_that_somebody_listens_on_is_not_taken() {
        let dir = crate::testing::directory("unix-socket-taken");
        let path = dir.path().join("s");
        let text = path.to_str().unwrap();
        let refused = Some("another process listens on it");
        let first = unix(text, None, 0).unwrap();
        assert_eq!(unix(text, None, 4).err().as_deref(), refused);
        // Not even if it is too busy to accept another connection.
        let pending: Vec<_> = std::iter::from_fn(|| {
            let stream = net::socket_with(
                AddressFamily::UNIX,
                SocketType::STREAM,
                SocketFlags::NONBLOCK,
                None,
            );
            stream.ok().filter(|fd| net::connect(fd, &SocketAddrUnix::new(text).unwrap()).is_ok())
        })
        .take(64)
        .collect();
        assert!(pending.len() < 64);
        assert_eq!(unix(text, None, 4).err().as_deref(), refused);
        // It still has its clients.
        while first.accept().is_ok() {}
        UnixStream::connect(&path).unwrap();
        drop((first, pending));
        assert!(unix(text, None, 4).is_ok(), "nobody listens on it any more");
        fs::remove_file(&path).unwrap();
        let _datagrams = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        assert_eq!(unix(text, None, 4).err().as_deref(), refused);
    }

    #[test]
    fn a_unix_socket_has_its_mode_before_anybody_can_connect() {
        let dir = crate::testing::directory("unix-socket-mode");
        let path = dir.path().join("s");
        let listener = bind_unix(path.to_str().unwrap(), Some(0o600)).ok().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let refused = UnixStream::connect(&path).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        net::listen(&listener.fd, 4).unwrap();
        UnixStream::connect(&path).unwrap();
    }
}
