//! Flags of commands, most of which COMMAND INFO shows.
#![expect(missing_docs, reason = "the names are Redis' and explained in its documentation")]

pub const WRITE: u64 = 1 << 0;
pub const READONLY: u64 = 1 << 1;
pub const DENYOOM: u64 = 1 << 2;
pub const ADMIN: u64 = 1 << 3;
pub const PUBSUB: u64 = 1 << 4;
pub const NOSCRIPT: u64 = 1 << 5;
pub const BLOCKING: u64 = 1 << 6;
pub const LOADING: u64 = 1 << 7;
pub const STALE: u64 = 1 << 8;
pub const SKIP_MONITOR: u64 = 1 << 9;
pub const SKIP_SLOWLOG: u64 = 1 << 10;
pub const ASKING: u64 = 1 << 11;
pub const FAST: u64 = 1 << 12;
pub const NO_AUTH: u64 = 1 << 13;
pub const MAY_REPLICATE: u64 = 1 << 14;
pub const NO_ASYNC_LOADING: u64 = 1 << 15;
pub const NO_MULTI: u64 = 1 << 16;
pub const MOVABLEKEYS: u64 = 1 << 17;
pub const ALLOW_BUSY: u64 = 1 << 18;
// COMMAND INFO does not show the following.

/// Runs within MULTI instead of being queued.
pub const IN_MULTI: u64 = 1 << 40;
/// Runs the queued commands of a transaction: it needs the permissions that they need.
pub const RUNS_QUEUE: u64 = 1 << 41;
/// May access expired keys that are not among its arguments. Their deletions are propagated
/// separately.
pub const ARBITRARY_KEYS: u64 = 1 << 42;
/// Runs when our master sends it, though it has the flag `ADMIN`.
pub const FROM_MASTER: u64 = 1 << 43;
/// Its subcommands are not commands to clients: neither COMMAND nor INFO commandstats lists
/// them.
pub const PRIVATE_SUBCOMMANDS: u64 = 1 << 44;
/// Runs for a subscribed client also with RESP2, in which such a client can tell replies from
/// messages only if few commands are allowed.
pub const WHILE_SUBSCRIBED: u64 = 1 << 45;
/// Its reply consists of messages, in RESP3 pushes: CLIENT REPLY does not suppress it.
pub const PUSHES_REPLY: u64 = 1 << 46;
/// Exists in Sentinel mode as well. A subcommand exists where its container does.
pub const SENTINEL: u64 = 1 << 48;
/// A subcommand that Sentinel mode does not have, although it has its container.
pub const NOT_SENTINEL: u64 = 1 << 50;
/// Moves keys to another node, so it is served wherever a moving slot's keys are. One such command runs at a time.
pub const MOVES_KEYS: u64 = 1 << 51;
/// Does not end the effect of ASKING, which is for the next command.
pub const KEEPS_ASKING: u64 = 1 << 52;
/// Exists in Sentinel mode only.
pub const ONLY_SENTINEL: u64 = 1 << 49;
/// Fails like a write while the last save has failed: Sentinels and health checks rely on it.
pub const REPORTS_FAILED_SAVE: u64 = 1 << 47;
