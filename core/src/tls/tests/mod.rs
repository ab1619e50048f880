//! Tests of whole sessions; `support` makes certificates, ports and pairs, `stock` foreign peers.
mod differential;
mod freezing;
mod hostile;
mod interop;
mod key_exchange;
mod malformed;
mod pair;
mod refusals;
mod revoked;
mod revoked_later;
mod stock;
pub(super) mod support;
mod symbolic;
