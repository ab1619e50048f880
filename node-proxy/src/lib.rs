//! Adit's node proxy as a library: configuration, wiring and the demo. The binary is a thin `main` around [`cli`].
//!
//! | module | subject |
//! |---|---|
//! | `admin` | what the admin pages show |
//! | [`certificates`] | shards' certificates from the node's manager |
//! | [`cli`] | commands, flags, help, exit codes |
//! | [`config`] | environment variables |
//! | [`shard_config`] | from the process's configuration to one shard's |
//! | [`instance`] | one running proxy: listeners, threads, certificate |
//! | `recordings` | files for `ADIT_RECORD` |
//! | [`run`] | `adit-node proxy`: an instance with readiness and signals |
//! | [`demo`] | `adit-node demo`: two instances and a tour of what they do |
#![forbid(unsafe_code)]

mod admin;
pub mod certificates;
pub mod cli;
pub mod config;
pub mod demo;
pub mod instance;
mod recordings;
pub mod run;
pub mod shard_config;
