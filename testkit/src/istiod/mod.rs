//! A control plane by script: a real gRPC server over TLS, whose state and faults a test decides.
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use crate::netns::{Namespace, enter};

pub mod ads;
pub mod ca;
pub mod large;
mod server;
mod spoken;

pub use server::Istiod;

/// Makes listening sockets; which network namespace they belong to is its choice.
pub type Bind = Arc<dyn Fn(SocketAddr) -> io::Result<TcpListener> + Send + Sync>;

/// A free port of loopback.
const LOOPBACK: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0));

/// Sockets of this thread's network namespace.
fn here() -> Bind {
    Arc::new(TcpListener::bind::<SocketAddr>)
}

/// A socket of `bind` for tokio, on whose runtime this is called.
fn listen(bind: &Bind, address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    let listener = bind(address)?;
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

/// Makes listening sockets inside a namespace.
#[must_use]
pub fn bind_in(namespace: &Namespace) -> Bind {
    let name = namespace.name().to_owned();
    Arc::new(move |address| {
        let bound = enter(&name, || TcpListener::bind(address));
        bound.map_err(|error| io::Error::other(error.to_string()))?
    })
}
