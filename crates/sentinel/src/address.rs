//! Addresses of servers and Sentinels: a host as it was configured or announced, and the IP address behind it.

use std::net::IpAddr;

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
        match self.ip {
            Some(ip) if !globals.announce_hostnames => ip.to_string(),
            _ => self.host.clone(),
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
}
