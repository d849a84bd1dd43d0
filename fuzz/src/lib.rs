//! Shared by fuzz targets: a driven node, commands and dump files from the fuzzer's bytes, and
//! parsers of the output.

pub mod commands;
pub mod input;
pub mod rdb;
pub mod replies;
pub mod sentinel;
pub mod world;
