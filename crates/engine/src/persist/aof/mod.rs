//! The append-only file: its formats as functions over bytes.
//!
//! ```text
//!   appendonlydir/
//!     appendonly.aof.manifest      which files, in which order                     manifest/
//!     appendonly.aof.2.base.rdb    all data at one time: RDB (or commands)         rdb_save.rs, base.rs
//!     appendonly.aof.5.incr.aof    what happened since then: commands in RESP      batch.rs writes, read/ reads
//!
//!   #TS:1795744230\r\n                             annotations are lines that begin with #
//!   #RS:16:27:0:07c1:43f8c2d1a9e07b56\r\n          the checksum of the batch that follows
//!   *3\r\n$3\r\nset\r\n$1\r\na\r\n$1\r\n1\r\n
//! ```
//!
//! Layout and formats are those of Redis 7, so that either server starts on the other's folder. Russet adds two
//! annotations with checksums, which stock servers and their tools skip: `#RM:` in the manifest, `#RS:` in incremental
//! files. `docs/internals/aof.md` says what they are good for.
//!
//! * [`manifest`]: the manifest.
//! * [`batch`]: from units of the journal to the bytes that are appended.
//! * [`read`]: from the bytes of a file to commands, and to a verdict on the file; [`error`] has its errors.
//!
//! In the node: [`files`] owns the files, [`append`] counts what is written, `rewrite` makes new ones when [`rewrites`]
//! says so, `replace` puts them in the place of the present ones, `history` removes those, [`load`] reads them at the start,
//! `refusal` says when writes are refused.

pub mod append;
pub mod base;
pub mod batch;
mod checksum;
mod command;
pub mod error;
pub mod files;
mod history;
pub mod load;
pub mod manifest;
pub mod read;
mod refusal;
mod replace;
mod resync;
mod rewrite;
pub mod rewrites;
mod scan;
#[cfg(test)]
mod tests;
