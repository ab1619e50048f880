//! The applications at both ends: the program `adit-peer`, as a client or as a server, and how tests start it.
//!
//! A client's first line names what is to happen on a connection ([`Script`]); both ends then play their part, and
//! every octet is checked against a [`Pattern`](super::Pattern).

mod client;
mod launch;
mod load;
mod program;
mod script;
mod server;
mod wire;

pub use self::launch::{Server, client, spawn};
pub use self::program::main;
pub use self::script::Script;
pub use self::wire::End;
