//! Tests of the node and its parts, in one program: each further one would be linked by itself.

mod acks;
mod admin;
mod clients;
mod debug;
mod directives;
mod dump;
mod events;
mod expiry;
mod failover;
mod following;
mod full_sync;
mod hardening;
mod hash_expiry;
mod hashes;
mod info;
mod introspect;
mod journal;
mod keyspace;
mod log_lines;
mod pages;
mod pubsub;
mod rdb;
mod requests;
mod rows;
mod saves;
mod slots;
