//! The periods of the protocol, which SENTINEL DEBUG shows and changes.

/// A period with its name.
pub(crate) type Row = (&'static str, fn(&mut Periods) -> &mut u64);

/// The periods in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Periods {
    /// Between two INFO.
    pub info: u64,
    /// Between two PING.
    pub ping: u64,
    /// Between two questions to other Sentinels whether a master is down.
    pub ask: u64,
    /// Between two hello messages.
    pub publish: u64,
    /// Default of `down-after-milliseconds`.
    pub down_after: u64,
    /// Default of `failover-timeout`.
    pub failover_timeout: u64,
    /// A pause of this process from which on its judgement is suspended.
    pub tilt_trigger: u64,
    /// The longest suspension.
    pub tilt: u64,
    /// After which a replica that does not follow the new master is left alone.
    pub reconf_timeout: u64,
    /// The least age of a connection that is replaced because nothing comes.
    pub reconnect: u64,
    /// After which an election has failed.
    pub election_timeout: u64,
    /// The longest run of a script.
    pub script_run: u64,
    /// Delay before a script is tried again, which doubles each time.
    pub script_retry: u64,
}

impl Default for Periods {
    fn default() -> Periods {
        Periods {
            info: 10_000,
            ping: 1000,
            ask: 1000,
            publish: 2000,
            down_after: crate::settings::DOWN_AFTER_MS,
            failover_timeout: crate::settings::FAILOVER_TIMEOUT_MS,
            tilt_trigger: 2000,
            tilt: 30_000,
            reconf_timeout: 10_000,
            reconnect: 15_000,
            election_timeout: 10_000,
            script_run: 60_000,
            script_retry: 30_000,
        }
    }
}

/// All periods, in Redis' order.
pub(crate) const ROWS: &[Row] = &[
    ("info-period", |periods| &mut periods.info),
    ("ping-period", |periods| &mut periods.ping),
    ("ask-period", |periods| &mut periods.ask),
    ("publish-period", |periods| &mut periods.publish),
    ("default-down-after", |periods| &mut periods.down_after),
    ("default-failover-timeout", |periods| &mut periods.failover_timeout),
    ("tilt-trigger", |periods| &mut periods.tilt_trigger),
    ("tilt-period", |periods| &mut periods.tilt),
    ("slave-reconf-timeout", |periods| &mut periods.reconf_timeout),
    ("min-link-reconnect-period", |periods| &mut periods.reconnect),
    ("election-timeout", |periods| &mut periods.election_timeout),
    ("script-max-runtime", |periods| &mut periods.script_run),
    ("script-retry-delay", |periods| &mut periods.script_retry),
];
