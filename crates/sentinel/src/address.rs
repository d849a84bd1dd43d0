//! Addresses of servers and Sentinels: a host as it was configured or announced, and the IP address behind it.

use std::net::{IpAddr, Ipv4Addr};

use crate::settings::Globals;

/// An address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Host name or IP address, as it was given.
    pub host: String,
    /// Its IP address: of the last connection if it is a name, unknown before.
    pub ip: Option<IpAddr>,
    /// Port; 0 is nowhere.
    pub port: u16,
}

impl Address {
    /// Creates an address.
    pub fn new(host: &str, port: u16) -> Address {
        Address { host: host.to_owned(), ip: host.parse().ok(), port }
    }

    /// Returns the host as others are told.
    pub fn shown(&self, globals: &Globals) -> String {
        self.as_shown(globals).text()
    }

    /// Returns the host as others are told, without copying it.
    pub fn as_shown(&self, globals: &Globals) -> Shown<'_> {
        match self.ip {
            Some(ip) if !globals.announce_hostnames => Shown::Ip(ip),
            _ => Shown::Name(&self.host),
        }
    }

    /// Returns `host:port`, or `[host]:port` for IPv6.
    pub fn with_port(&self, globals: &Globals) -> String {
        let host = self.shown(globals);
        if host.contains(':') {
            return format!("[{host}]:{}", self.port);
        }
        format!("{host}:{}", self.port)
    }

    /// Whether both are the same place: equal ports, and the same IP address or name.
    pub fn is_same(&self, other: &Address) -> bool {
        self.port == other.port
            && (self.host.eq_ignore_ascii_case(&other.host)
                || (self.ip.is_some() && self.ip == other.ip))
    }

    /// Whether this host and port, as somebody reports them, are this place.
    pub fn is_at(&self, host: &str, port: u16) -> bool {
        self.is_same(&Address::new(host, port))
    }
}

/// A host as others are told.
#[derive(Clone, Copy, Debug)]
pub enum Shown<'a> {
    /// An IP address.
    Ip(IpAddr),
    /// A name.
    Name(&'a str),
}

impl Shown<'_> {
    /// Returns it as text.
    pub fn text(self) -> String {
        let mut text = String::new();
        self.put_into(&mut text);
        text
    }

    /// Replaces a text by it, whose memory is used again.
    pub fn put_into(self, text: &mut String) {
        text.clear();
        match self {
            Shown::Ip(IpAddr::V4(ip)) => push_v4(ip, text),
            Shown::Ip(ip) => text.push_str(&ip.to_string()),
            Shown::Name(name) => text.push_str(name),
        }
    }
}

/// Appends `10.0.0.1`. Addresses are in all that Sentinels tell each other, and formatting them by `Display` takes ten times as
/// long.
fn push_v4(ip: Ipv4Addr, text: &mut String) {
    let mut bytes = [b'.'; 15];
    let mut len = 0;
    for (index, octet) in ip.octets().into_iter().enumerate() {
        len += usize::from(index > 0);
        for (unit, least) in [(100, 100), (10, 10), (1, 0)] {
            if octet >= least {
                bytes[len] = b'0' + octet / unit % 10;
                len += 1;
            }
        }
    }
    text.push_str(std::str::from_utf8(&bytes[..len]).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_its_address_are_the_same_place() {
        let mut named = Address::new("Db1.example", 6379);
        let address = Address::new("10.0.0.1", 6379);
        assert!(!named.is_same(&address) && named.is_at("db1.EXAMPLE", 6379));
        named.ip = address.ip;
        assert!(named.is_same(&address) && !named.is_at("10.0.0.1", 6380));
        let names = Globals { announce_hostnames: true, ..Globals::default() };
        assert_eq!(named.shown(&names), "Db1.example");
        assert_eq!(Address::new("::1", 7).with_port(&Globals::default()), "[::1]:7");
    }

    #[test]
    fn addresses_are_written_as_std_writes_them() {
        for octet in 0..=255 {
            let ip = Ipv4Addr::new(octet, 0, 255 - octet, octet / 2);
            let shown = Shown::Ip(ip.into());
            let mut text = "replaced".to_owned();
            shown.put_into(&mut text);
            assert_eq!((text, shown.text()), (ip.to_string(), ip.to_string()));
        }
    }
}
