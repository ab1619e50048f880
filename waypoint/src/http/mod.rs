//! HTTP: from a client's stream to endpoints and back.
//!
//! ```text
//!  stream ─▶ server (hyper) ─▶ clean ─▶ Head ─▶ exchange ── decided by core::l7 ──▶ attempts ─▶ endpoint
//!                                                  │                                  │
//!  client ◀── Watched body, Report ◀───────────────┴────── local answer ◀─────────────┘
//! ```
mod activity;
mod admit;
mod authorizer;
mod body;
mod call;
mod clean;
mod decide;
mod exchange;
mod failed;
mod limits;
mod local;
mod mirror;
mod outgoing;
mod refused;
mod server;
mod strict;
mod trying;
mod upgrade;
mod view;
mod watch;

pub(crate) use self::admit::connection;
pub(crate) use self::authorizer::connection as ask_about;
pub(crate) use self::body::Body;
pub(crate) use self::clean::{clean as clean_request, strip_request};
pub(crate) use self::decide::{name as route_name, unroutable};
pub(crate) use self::server::{serve_http1, serve_http2};
pub(crate) use self::view::{Changed, Head};
