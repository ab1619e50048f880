//! A connection as tonic's generated clients want it: a service that sends one request.
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use tonic::body::Body;

use super::Auth;

/// An HTTP/2 connection to a control plane. It ends when the last copy is dropped and its streams are over.
#[derive(Clone, Debug)]
pub struct Channel {
    sender: SendRequest<Body>,
    authority: Authority,
    auth: Arc<Auth>,
}

impl Channel {
    pub(super) const fn new(sender: SendRequest<Body>, authority: Authority, auth: Arc<Auth>) -> Self {
        Self { sender, authority, auth }
    }
}

impl tower_service::Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = tonic::codegen::StdError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // All that hyper could say here is that the connection has ended. The call says so too, and there tonic keeps the
        // error, so that whoever asks can tell it from an answer of the server.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The token is read here, once for each call, so that a renewed one is used at once.
        let headers = match self.auth.headers() {
            Ok(headers) => headers,
            Err(error) => return Box::pin(std::future::ready(Err(error.into()))),
        };
        request.headers_mut().extend(headers);
        let path = request.uri().path_and_query().cloned();
        let uri = Uri::builder()
            .scheme(Scheme::HTTPS)
            .authority(self.authority.clone())
            .path_and_query(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
            .build();
        match uri {
            Ok(uri) => *request.uri_mut() = uri,
            Err(error) => return Box::pin(std::future::ready(Err(error.into()))),
        }
        let response = self.sender.send_request(request);
        Box::pin(async move { response.await.map_err(Into::into) })
    }
}

#[cfg(test)]
impl Channel {
    /// A connection that the server has closed.
    pub(crate) async fn ended() -> Self {
        use hyper_util::rt::{TokioExecutor, TokioIo};
        let (client, server) = tokio::io::duplex(1024);
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client));
        let (sender, connection) = handshake.await.expect("nothing is waited for");
        drop(server);
        // Its error is what is wanted.
        let _ = connection.await;
        Self::new(sender, Authority::from_static("istiod.test"), Arc::default())
    }
}
