//! Adit's node proxy as a library: configuration, wiring, explanations and the demo. The binary is a thin `main` around [`cli`].
//!
//! | module | subject |
//! |---|---|
//! | [`capture`] | `adit-node capture`: redirection rules and routes of a pod, applied, verified, removed |
//! | [`check`] | `adit-node check`: whether connections of pods really come to the proxy |
//! | [`cli`] | commands, flags, help, exit codes |
//! | `inpod` | shared mode: the proxies of this node's pods |
//! | [`lookups`] | shards' questions for host names |
//! | `names` | the DNS proxy |
//! | [`run`] | `adit-node proxy`: an instance with readiness and signals |
//! | [`explain`] | `adit-node explain`: what would become of a connection, and why |
//! | [`demo`] | `adit-node demo`: two instances and a tour of what they do |
#![forbid(unsafe_code)]

pub use adit_process::{certificates, config, handover, instance, shard_config, tables, thread};
use adit_process::{demands, discovery, stopping};

pub mod capture;
pub mod check;
pub mod cli;
pub mod demo;
pub mod explain;
mod inpod;
pub mod lookups;
mod names;
pub mod run;
