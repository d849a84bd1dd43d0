//! Shared by fuzz targets: a driven node, a machine of a cluster with its peers, commands and dump files from the fuzzer's
//! bytes, and parsers of the output.

pub mod cluster;
pub mod commands;
pub mod input;
pub mod rdb;
pub mod replies;
pub mod sentinel;
pub mod world;
