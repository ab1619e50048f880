//! Adit's core: every state machine of the data plane of Istio ambient mode, and no I/O of any kind.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_possible_wrap,
        clippy::wildcard_enum_match_arm,
        clippy::std_instead_of_core,
        clippy::print_stdout,
    )
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod buffer;
pub mod cert;
pub mod dns;
pub mod drain;
pub mod explain;
pub mod hbone;
pub mod http2;
pub mod identity;
pub mod inpod;
pub mod l7;
pub mod mesh;
pub mod policy;
pub mod pool;
pub mod proxy;
pub mod rng;
pub mod route;
pub mod time;
pub mod tls;
pub mod xds;
