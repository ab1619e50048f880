//! Connections that are not HTTP: octets both ways.
use std::rc::Rc;

use adit_tokio::Stream;

use crate::conn::Conn;
use crate::prefixed::Prefixed;
use crate::route::{self, Endpoint};
use crate::upstream::dial;
use crate::worker::Worker;

/// Relays a connection until both sides have ended it.
pub(crate) async fn serve(worker: &Rc<Worker>, conn: &Rc<Conn>, mut stream: Prefixed<Stream>) {
    let (_, endpoint) = match route::endpoint_of_connection(worker, conn, None) {
        Ok(found) => found,
        Err(error) => {
            tracing::info!(client = %conn.source, to = %conn.local, %error, "a connection goes nowhere");
            return;
        }
    };
    let Endpoint { towards, under_way, .. } = endpoint;
    match dial(worker, towards).await {
        Ok(mut upstream) => {
            // Either side's failure is the other's end.
            if let Err(error) = tokio::io::copy_bidirectional(&mut stream, &mut upstream).await {
                tracing::debug!(client = %conn.source, %error, "a connection has broken");
                upstream.reset();
            }
        }
        Err(error) => {
            tracing::info!(client = %conn.source, to = %conn.local, %error, "an endpoint cannot be reached")
        }
    }
    drop(under_way);
}
