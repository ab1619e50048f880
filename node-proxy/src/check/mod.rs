//! `adit-node check`: whether connections of pods really come to the proxy, for people and for the proxy itself.
//!
//! | module | subject |
//! |---|---|
//! | `probe` | a connection from inside a namespace, and where it ended |
//! | `diag` | one TCP socket, by its addresses |
//! | `sockets` | the kernel's table of TCP sockets |
//! | [`watch`] | what the running proxy does: probes of all pods, metric, readiness, admin page |
//! | `inspect`, `report` | what the command finds, and how it tells it |

mod command;
mod diag;
mod inspect;
mod probe;
mod report;
mod sockets;
pub mod watch;

pub(crate) use self::command::run;
pub use self::probe::capture_state;
