//! Recordings of a shard: every call into it with its outcome, so that what happened anywhere can be replayed on a desk.
//!
//! A [`Recorder`] stands between the drive loop and the shard and writes one [`Entry`] per call: time, arguments, the
//! octets that were read, what the provider of cryptography drew at random during it ([`Draw`]), and a running digest of
//! everything the shard has answered. The replayer of `adit-testkit` makes the same calls on a fresh shard and compares
//! the digests after each. For tunnels to be replayed, the shard's certificates must be made with [`tapped`].
//!
//! **A recording holds the users' octets and, with the secrets of every key exchange, the keys of every tunnel.** It holds
//! no private key of a certificate. Keep it as you would keep a core dump.
//!
//! What it does not hold: the configuration and the tables (the header has the shard's seed; give the replay the same of
//! everything else), and what the drive loop and the kernel did between the calls.
mod faults;
mod format;
mod recorder;
mod tap;

pub use faults::{DemandFault, Id, NameFault, SocketFault};
pub use format::{Call, Certificate, Digest, Entry, Header, Reader, RecordError, VERSION, listener_of};
pub use recorder::Recorder;
pub use tap::{Draw, replaying, tapped};
