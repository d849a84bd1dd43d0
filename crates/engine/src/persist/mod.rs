//! Persistence: the formats as pure functions over bytes, and the node's part in saving and loading.
//!
//! The formats:
//!
//! * [`rdb_save`]: chunks to the bytes of an RDB file.
//! * [`rdb_load`]: the bytes of an RDB file, in pieces of any size, to calls of a sink.
//! * [`fill`]: from those calls to a keyspace.
//! * [`dump`]: one value as bytes.
//!
//! The node's part: [`snapshot`] runs walks, [`saves`] and [`loading`] are the dump file's life,
//! [`ending`] the last save.
//!
//! Architecture invariant: nothing here opens a file, reads a clock or starts a thread, and the
//! formats know nothing of the keyspace: a walker fills chunks, a loader's sink fills a database.
//! `docs/internals/rdb.md` draws the bytes.

pub mod dump;
pub mod ending;
pub mod fill;
pub mod loading;
pub mod rdb_load;
pub mod rdb_save;
pub mod saves;
pub mod snapshot;
