//! Adit's waypoint as a library: HTTP in and out around [`adit_core::l7`]'s decisions. The binary is a thin `main`.
//!
//! | module | subject |
//! |---|---|
//! | [`cli`] | commands, flags, help, exit codes |
//! | `conn` | one connection of a client: whom it is for, who calls |
//! | [`demo`] | `adit-waypoint demo`: a mesh on loopback |
//! | [`explain`] | `adit-waypoint explain`: what would become of a request, and why |
//! | `http` | HTTP, from a client's stream to endpoints and back |
//! | `local` | tasks of hyper's, on the thread they belong to |
//! | [`observe`] | what is told of requests, and to whom |
//! | [`pages`] | admin pages that only a waypoint has |
//! | `percent` | percent-encoding |
//! | `prefixed` | a stream of which the beginning has been read |
//! | [`proxy`] | a running waypoint |
//! | `route` | from a target to an endpoint |
//! | [`run`] | `adit-waypoint proxy` |
//! | `serve` | what a stream speaks, and who serves that |
//! | [`settings`] | bounds and deadlines |
//! | `share` | what one client may take |
//! | [`shared`] | what all threads have in common |
//! | [`source`] | where resources come from |
//! | `tcp` | connections that are not HTTP |
//! | `upstream` | connections to endpoints |
//! | [`worker`] | one thread |
#![forbid(unsafe_code)]

pub mod cli;
mod conn;
pub mod demo;
pub mod explain;
mod http;
mod local;
pub mod observe;
pub mod pages;
mod percent;
mod prefixed;
pub mod proxy;
mod route;
pub mod run;
mod serve;
pub mod settings;
mod share;
pub mod shared;
pub mod source;
mod tcp;
mod upstream;
pub mod worker;
