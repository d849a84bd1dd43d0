//! What an operator sets.

/// Settings of a node. They may change at any time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A node that has not answered for so long is suspected of being down.
    pub node_timeout_ms: u64,
    /// Port for clients; 0 if there is none.
    pub port: u16,
    /// Port for clients with TLS; 0 if there is none.
    pub tls_port: u16,
    /// Port of the bus.
    pub bus_port: u16,
    /// What this node tells others of itself, instead of what it knows.
    pub announced: Announced,
    /// A replica that has not heard of its master for this many timeouts does not take over; 0: it always does.
    pub replica_validity_factor: u64,
    /// How often a master pings its replicas over the replication stream.
    pub replica_ping_ms: u64,
    /// A replica moves to a master without replicas only if its own keeps so many.
    pub migration_barrier: usize,
    /// Whether replicas move, and masters without slots become replicas.
    pub allow_replica_migration: bool,
    /// Whether this replica never takes over by itself.
    pub no_failover: bool,
    /// Whether nothing is served if a slot is not.
    pub require_full_coverage: bool,
    /// For how long a forgotten node is not accepted again.
    pub blacklist_ttl_ms: u64,
    /// For how long a manual failover is tried.
    pub manual_failover_ms: u64,
    /// Interval between pings of random nodes.
    pub ping_interval_ms: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            node_timeout_ms: 15_000,
            port: 6379,
            tls_port: 0,
            bus_port: 16379,
            announced: Announced::default(),
            replica_validity_factor: 10,
            replica_ping_ms: 10_000,
            migration_barrier: 1,
            allow_replica_migration: true,
            no_failover: false,
            require_full_coverage: true,
            blacklist_ttl_ms: 60_000,
            manual_failover_ms: 5_000,
            ping_interval_ms: 1_000,
        }
    }
}

/// What a node tells others of itself. Empty texts and ports of 0 announce nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// Address.
    pub ip: String,
    /// Port for clients.
    pub port: u16,
    /// Port for clients with TLS.
    pub tls_port: u16,
    /// Port of the bus.
    pub bus_port: u16,
    /// Host name.
    pub hostname: String,
    /// Name for people.
    pub human_nodename: String,
    /// IPv4 address for clients.
    pub client_ipv4: String,
    /// IPv6 address for clients.
    pub client_ipv6: String,
}
