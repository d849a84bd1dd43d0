//! The way to a key in a cluster: clients go where a node sends them, and to the next one that they know when a node
//! fails or does not serve.

use std::net::SocketAddrV4;

use russet_e2e::Value;

use crate::partitions::writer::Route;

/// The nodes that a client knows.
pub struct Nodes {
    addresses: Vec<SocketAddrV4>,
    next: usize,
    redirected: Option<SocketAddrV4>,
}

impl Nodes {
    /// Begins with the first of these.
    pub fn new(addresses: Vec<SocketAddrV4>) -> Nodes {
        Nodes { addresses, next: 0, redirected: None }
    }
}

impl Route for Nodes {
    fn server(&mut self) -> Option<SocketAddrV4> {
        if let Some(address) = self.redirected.take() {
            return Some(address);
        }
        let address = self.addresses.get(self.next % self.addresses.len().max(1)).copied();
        self.next += 1;
        address
    }

    fn refused(&mut self, reply: &Value) {
        self.redirected = moved_to(reply);
    }
}

/// The address in the error `MOVED slot address`.
pub fn moved_to(reply: &Value) -> Option<SocketAddrV4> {
    let Value::Error(text) = reply else { return None };
    let (_, address) = text.strip_prefix("MOVED ")?.split_once(' ')?;
    address.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_follows_a_redirection_once() {
        let address = |text: &str| text.parse::<SocketAddrV4>().expect("an address");
        let (one, two, three) =
            (address("10.0.0.1:1"), address("10.0.0.2:1"), address("10.0.0.3:1"));
        let mut nodes = Nodes::new(vec![one, two]);
        assert_eq!(nodes.server(), Some(one));
        nodes.refused(&Value::Error("MOVED 12 10.0.0.3:1".into()));
        assert_eq!(nodes.server(), Some(three));
        nodes.refused(&Value::Error("CLUSTERDOWN The cluster is down".into()));
        assert_eq!((nodes.server(), nodes.server()), (Some(two), Some(one)));
    }
}
