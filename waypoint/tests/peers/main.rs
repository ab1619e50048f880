//! Other people's programs and libraries, as clients and as applications, through a client's proxy, a waypoint and an
//! application's proxy. What is a program of its own (curl, nghttp, h2load) must be installed, and is behind the feature
//! `foreign-peers`; Envoy, which is not spoken to but compared with, is in a suite of its own.
#[path = "../rig/mod.rs"]
mod rig;

#[cfg(feature = "foreign-peers")]
mod curl;
mod grpc;
#[cfg(feature = "foreign-peers")]
mod nghttp2;
mod spans;
mod websocket;
