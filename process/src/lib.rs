//! A process of the mesh put together, whichever it is: the node proxy and the waypoint share all of this.
//!
//! | module | subject |
//! |---|---|
//! | [`admin`] | what the admin pages show of a process |
//! | [`config`] | environment variables |
//! | [`certificates`] | the process's certificates, whoever issues them |
//! | [`demands`] | shards' questions to the control plane |
//! | [`discovery`] | the mesh from the control plane |
//! | [`handover`] | listening sockets from the process before this one, and for the next |
//! | [`instance`] | one running proxy: listeners and threads |
//! | [`pages`] | readiness, metrics, admin |
//! | `recordings` | files for `ADIT_RECORD` |
//! | [`screen`] | lines for people who watch a demo |
//! | [`shard_config`] | from the process's configuration to one shard's |
//! | [`start`] | what every start has |
//! | [`stopping`] | signals, and who hears of them |
//! | [`tables`] | the mesh in force, and who is told of a new one |
//! | [`thread`] | the thread of clients and servers beside the data plane |
#![forbid(unsafe_code)]

pub mod admin;
pub mod certificates;
pub mod config;
pub mod demands;
pub mod discovery;
pub mod handover;
pub mod instance;
pub mod pages;
mod recordings;
pub mod screen;
pub mod shard_config;
pub mod start;
pub mod stopping;
pub mod tables;
pub mod thread;
