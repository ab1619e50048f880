//! The small HTTP/1.1 server under admin, stats and readiness, bounded in connections, request size and time; and a
//! client that asks it one question.

mod client;
mod request;
mod response;
mod server;

pub use self::client::{Bounds, ClientError, Origin, OriginError, get};
pub use self::request::{Method, Query, Request, Target};
pub use self::response::{Body, Response};
pub use self::server::{Endpoint, ServerError, ServerThread};

/// Answers requests. Called on the thread of the server, so it must not block; what takes long is a [`Body::Chunks`].
pub trait Handler: Send + Sync + 'static {
    /// The answer to one request.
    fn answer(&self, request: &Request) -> Response;
}

impl<F: Fn(&Request) -> Response + Send + Sync + 'static> Handler for F {
    fn answer(&self, request: &Request) -> Response {
        self(request)
    }
}
