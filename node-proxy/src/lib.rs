//! Adit's node proxy as a library: configuration, wiring, explanations and the demo. The binary is a thin `main` around [`cli`].
//!
//! | module | subject |
//! |---|---|
//! | `admin` | what the admin pages show |
//! | [`capture`] | `adit-node capture`: redirection rules and routes of a pod, applied, verified, removed |
//! | [`certificates`] | the node's certificates, whoever issues them |
//! | [`check`] | `adit-node check`: whether connections of pods really come to the proxy |
//! | [`cli`] | commands, flags, help, exit codes |
//! | [`config`] | environment variables |
//! | [`shard_config`] | from the process's configuration to one shard's |
//! | [`demands`] | shards' questions to the control plane |
//! | `discovery` | the mesh from the control plane |
//! | [`handover`] | listening sockets from the proxy before this one, and for the next |
//! | `inpod` | shared mode: the proxies of this node's pods |
//! | [`instance`] | one running proxy: listeners and threads |
//! | [`lookups`] | shards' questions for host names |
//! | `names` | the DNS proxy |
//! | `recordings` | files for `ADIT_RECORD` |
//! | `stopping` | signals, and who hears of them |
//! | [`tables`] | the mesh in force, and who is told of a new one |
//! | [`thread`] | the thread of clients and servers beside the data plane |
//! | [`run`] | `adit-node proxy`: an instance with readiness and signals |
//! | [`explain`] | `adit-node explain`: what would become of a connection, and why |
//! | [`demo`] | `adit-node demo`: two instances and a tour of what they do |
#![forbid(unsafe_code)]

mod admin;
pub mod capture;
pub mod certificates;
pub mod check;
pub mod cli;
pub mod config;
pub mod demands;
pub mod demo;
mod discovery;
pub mod explain;
pub mod handover;
mod inpod;
pub mod instance;
pub mod lookups;
mod names;
mod recordings;
pub mod run;
pub mod shard_config;
mod stopping;
pub mod tables;
pub mod thread;
