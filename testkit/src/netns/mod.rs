//! Real processes in network namespaces of their own: proxies, clients and servers behind real redirection rules.
//!
//! Needs root, `ip`, and `iptables` or `nft`. What is missing is an error that says so: a test that cannot run fails.
//! Everything made here is removed when its owner is dropped, also when a test panics; what a killed test left behind
//! is removed by the next one.

mod admin;
mod command;
mod error;
mod loopback;
mod namespace;
mod network;
mod node;
mod pattern;
pub mod peer;
mod process;
mod redirect;
mod scratch;
mod talk;

pub use self::admin::{certificates, dump, get, page};
pub use self::command::{binary, require_root, run, wait_until};
pub use self::error::HarnessError;
pub use self::loopback::Loopback;
pub use self::namespace::{Namespace, enter};
pub use self::network::{Host, Network};
pub use self::node::{Node, NodeSpec, Runtime};
pub use self::pattern::Pattern;
pub use self::process::{Memory, Process};
pub use self::redirect::{Backend, redirect, redirect_by, release};
pub use self::scratch::Scratch;
pub use self::talk::{Echo, open, who_am_i};

/// What the harness's functions return.
pub type Result<T> = core::result::Result<T, HarnessError>;
