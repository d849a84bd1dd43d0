//! The link to the master: its state, and what others ask about it.
//!
//! ```text
//!   Retry ──▶ Connect ──▶ Handshake ──▶ Psync ──┬─▶ (continue) ─────────────▶ Online
//!     ▲                                         └─▶ Header ──▶ Payload ────────┘
//!     └────────────────────── any failure, in any state ───────────────────────┘
//! ```

use std::collections::VecDeque;

use super::payload::Payload;
use crate::ids::Handle;
use crate::persist::progress::Progress;
use crate::transaction::Transaction;

/// Maximum delay before retrying a full synchronization that failed, microseconds.
const BACK_OFF_MAX_US: u64 = 30_000_000;

/// An expected reply of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    Pong,
    Auth,
    ListeningPort,
    IpAddress,
    Capabilities,
    Version,
}

/// A request to take over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handover {
    /// Whether the replica is known to have the whole stream, so that it must refuse if it has not.
    pub(super) is_synced: bool,
    /// How often it was sent, without a reply.
    pub(super) times: u32,
}

/// The state of the link.
#[derive(Debug)]
pub(super) enum Stage {
    /// Not connected; retried every second.
    Retry,
    /// Waiting for the connection.
    Connect,
    /// Waiting for these replies, in this order.
    Handshake(VecDeque<Expect>),
    /// Waiting for the reply to PSYNC.
    Psync,
    /// Waiting for the header of the payload with this replication id and offset.
    Header(String, i64),
    /// Loading the payload.
    Payload(Box<Payload>),
    /// Following the stream.
    Online,
}

/// The link to the master.
#[derive(Debug)]
pub struct MasterLink {
    /// Host name or address of the master.
    pub host: String,
    /// Port of the master.
    pub port: u16,
    /// The connection, if there is one.
    pub link: Option<Handle>,
    pub(super) stage: Stage,
    /// Whether the data belongs to a replication history, so that a partial synchronization may be
    /// requested.
    pub(super) has_history: bool,
    /// Monotonic microseconds of the last data from the master.
    pub last_io_us: u64,
    /// Monotonic microseconds since when the link is down.
    pub down_since_us: u64,
    /// Monotonic microseconds at which it went online.
    pub(super) online_us: u64,
    /// Number of recent full synchronizations that failed, or whose data or stream was unusable.
    pub(super) sync_failures: u32,
    /// Database selected in the master's stream at our offset.
    pub selected_db: u32,
    /// Earliest time of the next attempt.
    pub(super) retry_us: u64,
    /// Whether the other side is our replica, and is to be asked with PSYNC to take over (FAILOVER).
    pub(super) handover: Option<Handover>,
    /// Whether our offset is to be acknowledged.
    pub(super) ack_requested: bool,
    /// The offset that is acknowledged once more when it is on disk.
    pub(super) disk_ack_at: Option<i64>,
    /// Database selected by the stream, also within a transaction.
    pub(super) db: u32,
    /// A transaction of the stream.
    pub(crate) transaction: Transaction,
    /// Bytes of an incomplete transaction of the stream.
    pub(super) partial_transaction: Vec<u8>,
}

impl MasterLink {
    /// Whether it is a link to this address.
    pub(crate) fn is_to(&self, host: &str, port: u16) -> bool {
        self.host == host && self.port == port
    }

    /// Whether the link is up, or has been, so that the data is that of this master.
    pub(crate) fn has_been_online(&self) -> bool {
        self.is_online() || self.online_us > 0
    }

    /// Returns whether the link is up, and for how many microseconds nothing has come from the master.
    pub(crate) fn state(&self, now_us: u64) -> (bool, u64) {
        let since = if self.is_online() { self.last_io_us } else { self.down_since_us };
        (self.is_online(), now_us.saturating_sub(since))
    }

    pub(super) fn new(
        host: String,
        port: u16,
        has_history: bool,
        selected_db: u32,
        now_us: u64,
    ) -> Self {
        MasterLink {
            host,
            port,
            link: None,
            stage: Stage::Retry,
            has_history,
            last_io_us: now_us,
            down_since_us: now_us,
            online_us: 0,
            sync_failures: 0,
            selected_db,
            retry_us: 0,
            handover: None,
            ack_requested: false,
            disk_ack_at: None,
            db: selected_db,
            transaction: Transaction::default(),
            partial_transaction: Vec::new(),
        }
    }

    /// Whether the link is online.
    pub fn is_online(&self) -> bool {
        matches!(self.stage, Stage::Online)
    }

    /// Returns the name of the state for ROLE.
    pub fn state_name(&self) -> &'static str {
        match self.stage {
            Stage::Retry => "connect",
            Stage::Connect => "connecting",
            Stage::Handshake(_) | Stage::Psync => "handshake",
            Stage::Header(..) | Stage::Payload(_) => "sync",
            Stage::Online => "connected",
        }
    }

    /// Whether a partial synchronization may be requested.
    pub fn has_history(&self) -> bool {
        self.has_history
    }

    /// Returns the bytes of an incomplete transaction of the stream.
    pub fn partial_len(&self) -> usize {
        self.partial_transaction.len()
    }

    /// Returns the delay before the next full synchronization after one that failed, or whose data or
    /// stream was unusable, since each costs the master a snapshot. Starts at a second and doubles each
    /// time.
    pub(super) fn back_off_us(&mut self) -> u64 {
        let us = (1_000_000_u64 << self.sync_failures.min(16)).min(BACK_OFF_MAX_US);
        self.sync_failures = self.sync_failures.saturating_add(1);
        us
    }

    /// Returns the delay before the next attempt after a failure in this stage: `usual`, unless the
    /// master has begun a full synchronization, which would fail in the same way again.
    pub(super) fn retry_delay_us(&mut self, usual: u64) -> u64 {
        match self.stage {
            Stage::Header(..) | Stage::Payload(_) => self.back_off_us(),
            _ => usual,
        }
    }

    /// Whether a payload is being loaded.
    pub fn is_loading(&self) -> bool {
        matches!(self.stage, Stage::Payload(_))
    }

    /// Whether a payload is being loaded and elements of a value are expected.
    pub fn is_inside_value(&self) -> bool {
        matches!(&self.stage, Stage::Payload(payload) if payload.loader.is_inside_value())
    }

    /// Returns the progress of loading a payload.
    pub fn load_progress(&self) -> Option<&Progress> {
        match &self.stage {
            Stage::Payload(payload) => Some(&payload.progress),
            _ => None,
        }
    }

    /// Returns the progress of a full synchronization for INFO: total bytes (0 if unknown) and
    /// received bytes.
    pub fn sync_progress(&self) -> Option<(u64, u64)> {
        match &self.stage {
            Stage::Header(..) => Some((0, 0)),
            Stage::Payload(payload) => Some((payload.len.unwrap_or(0), payload.received)),
            _ => None,
        }
    }
}
