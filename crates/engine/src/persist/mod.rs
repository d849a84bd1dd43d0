//! Persistence: the file formats as pure functions over bytes, and saving and loading in the node.
//!
//! The formats:
//!
//! * [`rdb_save`]: chunks to the bytes of an RDB file.
//! * [`rdb_load`]: the bytes of an RDB file, in pieces of any size, to calls of a sink.
//! * [`fill`]: from those calls to a keyspace.
//! * [`rdb_check`]: from those calls to numbers, without a keyspace.
//! * [`dump`]: one value as bytes.
//! * [`aof`]: the append-only file: manifest, batches of commands.
//!
//! In the node: [`snapshot`] copies the keyspace, [`saves`] and [`loading`] manage the dump file,
//! [`progress`] tells how far a load is, [`shutdown`] implements SHUTDOWN.
//!
//! Architecture invariant: nothing here opens a file, reads a clock or starts a thread, and the
//! formats know nothing of the keyspace: a walker fills chunks, a loader's sink fills a database.
//! `docs/internals/rdb.md` draws the bytes.

pub mod aof;
pub mod dump;
pub mod encoder;
pub mod fill;
pub mod loading;
pub mod progress;
pub mod rdb_check;
pub mod rdb_load;
pub mod rdb_save;
pub mod saves;
pub mod shutdown;
pub mod snapshot;
