//! What several fuzz targets share: a world around one node, commands and dump files made from the fuzzer's bytes, and
//! readers of what comes out.

pub mod commands;
pub mod input;
pub mod rdb;
pub mod replies;
pub mod world;
