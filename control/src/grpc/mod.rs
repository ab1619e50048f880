//! gRPC connections to a control plane: TLS, names, headers and keep-alives (interfaces §1.1, §2.1, §2.2).
//!
//! tonic speaks gRPC, hyper HTTP/2, rustls TLS; what is here puts them together as Istio's node proxy does.

mod auth;
mod call;
mod channel;
mod connect;
pub(crate) mod frame;
mod roots;

pub use auth::{Auth, AuthError, Token};
pub use call::{Octets, call};
pub use channel::Channel;
pub(crate) use connect::reach;
pub use connect::{ConnectError, Connector, Server, ServerError};
pub use frame::PREFIX;
pub use roots::{Roots, RootsError};
pub use rustls::pki_types::ServerName;
