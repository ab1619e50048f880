//! DNS: which questions of a workload the mesh answers, how, and which are relayed, to whom and for how long.
//!
//! [`Query`] reads a message, [`Resolver`] decides, [`encode`] writes the answer, [`Forwarder`] carries everything else
//! to a name server and back, octet for octet. Nothing here opens a socket: the caller says what arrived and sends what
//! comes out.
//!
//! Only questions of class IN for A or AAAA of a hostname in the mesh are ours. Whatever else a client sends — any
//! type, any opcode, any flag, records we do not know — goes to the name servers of `resolv.conf` unchanged but for the
//! message id, and so does what they say.

pub mod encode;
pub mod forward;
mod host;
#[cfg(test)]
mod laws;
mod lookup;
pub mod message;
mod names;
mod observed;
mod resolver;

pub use forward::{Forwarder, ForwarderConfig};
pub use host::{HostAnswer, host_answer, host_question};
pub use message::{Edns, MessageError, Query, Question, RecordType, Transport};
pub use names::{NameError, NameScope};
pub use observed::{Asked, DnsObserved};
pub use resolver::{Answer, Client, NotOurs, Resolution, Resolver, kubernetes_search};
