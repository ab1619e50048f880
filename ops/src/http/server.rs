//! Listening and serving: each connection carries one request, has a deadline, and takes one of a fixed number of places.
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};

use super::{Handler, Method, Request, Target};

/// Connections of one endpoint served at the same time; further ones wait in the listen queue.
const MAX_CONNECTIONS: usize = 64;
/// How long a client may take until its request is here.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may live. A `config_dump` of a large mesh through a port-forward takes its time.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// The most octets of a request head.
const MAX_HEAD: usize = 16 * 1024;
/// How long accepting rests after an error such as too many open files.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address cannot be used.
    #[error("failed to bind to address {address}: {cause}")]
    Bind {
        /// Where it should have listened.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// The thread or its runtime could not be made.
    #[error("the server's thread cannot be started: {0}")]
    Thread(io::Error),
}

/// A listening socket and who answers on it.
pub struct Endpoint {
    listener: TcpListener,
    address: SocketAddr,
    handler: Arc<dyn Handler>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Listens on `address`; clients wait until [`serve`](Self::serve) runs.
    ///
    /// # Errors
    /// [`ServerError::Bind`].
    pub fn bind(address: SocketAddr, handler: Arc<dyn Handler>) -> Result<Self, ServerError> {
        let listener = TcpListener::bind(address).map_err(|cause| ServerError::Bind { address, cause })?;
        Self::on(listener, address, handler)
    }

    /// As [`bind`](Self::bind), with a socket that listens at `address` already.
    ///
    /// # Errors
    /// [`ServerError::Bind`].
    pub fn on(
        listener: TcpListener,
        address: SocketAddr,
        handler: Arc<dyn Handler>,
    ) -> Result<Self, ServerError> {
        let error = |cause| ServerError::Bind { address, cause };
        listener.set_nonblocking(true).map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        Ok(Self { listener, address, handler })
    }

    /// Where it listens; tells the port when 0 was asked for.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is dropped, on the tokio runtime it is called on, whose time and I/O must be enabled. Returns
    /// only why that cannot go on.
    pub async fn serve(self) -> io::Error {
        let listener = match tokio::net::TcpListener::from_std(self.listener) {
            Ok(listener) => listener,
            Err(error) => return error,
        };
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            // Never closed, so this cannot fail; if it did, serving without a bound would be wrong.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return io::Error::other("the server's places are gone");
            };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let handler = Arc::clone(&self.handler);
                    tokio::spawn(async move {
                        // Whoever breaks off or takes too long has nobody to tell.
                        let _ = tokio::time::timeout(CONNECTION_TIMEOUT, converse(stream, handler)).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    let address = self.address;
                    tracing::warn!(%error, %address, "a connection cannot be accepted; resting, then trying again");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            }
        }
    }
}

/// One connection: one request, one response.
async fn converse(stream: TcpStream, handler: Arc<dyn Handler>) -> hyper::Result<()> {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let response = handler.answer(&understood(&request)).into_http();
        async move { Ok::<_, Infallible>(response) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn understood(request: &hyper::Request<Incoming>) -> Request {
    let method = match *request.method() {
        hyper::Method::GET => Method::Get,
        hyper::Method::POST => Method::Post,
        _ => Method::Other,
    };
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    let accept =
        request.headers().get_all(hyper::header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    Request { method, target: Target::parse(target), accept: accept.collect::<Vec<_>>().join(",") }
}

/// A thread that serves endpoints and does nothing else; dropping it ends it.
///
/// For programs without a tokio runtime to call [`Endpoint::serve`] on.
#[derive(Debug)]
pub struct ServerThread {
    addresses: Vec<SocketAddr>,
    /// Dropping it wakes the thread and tells it to end.
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl ServerThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`ServerError::Thread`].
    pub fn start(name: &str, endpoints: Vec<Endpoint>) -> Result<Self, ServerError> {
        let addresses = endpoints.iter().map(Endpoint::address).collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(ServerError::Thread)?;
        let (stop, stopped) = oneshot::channel();
        let work = move || {
            runtime.block_on(async move {
                for endpoint in endpoints {
                    tokio::spawn(async move {
                        let address = endpoint.address();
                        let error = endpoint.serve().await;
                        tracing::error!(%error, %address, "this server has ended");
                    });
                }
                let _ = stopped.await;
            });
        };
        let thread =
            std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(ServerError::Thread)?;
        Ok(Self { addresses, stop: Some(stop), thread: Some(thread) })
    }

    /// Where its endpoints listen, in the order in which they were given.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl Drop for ServerThread {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::super::{Body, Response};
    use super::*;

    pub(crate) fn start(handler: impl Handler) -> ServerThread {
        let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap(), Arc::new(handler)).unwrap();
        ServerThread::start("test", vec![endpoint]).unwrap()
    }

    /// Sends `request` and reads to the end.
    pub(crate) fn ask(server: &ServerThread, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(server.addresses()[0]).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    #[test]
    fn a_request_is_answered_and_the_connection_ends() {
        let server = start(|request: &Request| {
            let Request { method, target, accept } = request;
            Response::text(200, format!("{method:?} {} {:?} {accept}", target.path, target.query.get("a")))
        });
        let answer = ask(&server, b"POST /x?a=%31 HTTP/1.1\r\nhost: h\r\naccept: t/a\r\naccept: t/b\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nPost /x Some(\"1\") t/a,t/b"), "{answer}");
        assert!(answer.contains("content-type: text/plain; charset=utf-8\r\n"), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
    }

    #[test]
    fn long_bodies_come_in_chunks() {
        let server = start(|_: &Request| {
            Response::ok("application/json", Body::Chunks(Box::new((0..3).map(|n| vec![b'0' + n; 2]))))
        });
        let answer = ask(&server, b"GET / HTTP/1.1\r\nhost: h\r\n\r\n");
        assert!(answer.contains("transfer-encoding: chunked"), "{answer}");
        assert!(answer.ends_with("2\r\n00\r\n2\r\n11\r\n2\r\n22\r\n0\r\n\r\n"), "{answer}");
    }

    #[test]
    fn garbage_and_endless_heads_are_refused() {
        let server = start(|_: &Request| Response::text(200, "no"));
        assert!(ask(&server, b"\x16\x03\x01 garbage").starts_with("HTTP/1.1 400 "));
        let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(MAX_HEAD * 2));
        let answer = ask(&server, long.as_bytes());
        assert!(!answer.contains("200 OK"), "{answer}");
    }

    #[test]
    fn silent_clients_do_not_keep_others_waiting() {
        let server = start(|_: &Request| Response::text(200, "here"));
        let silent: Vec<_> =
            (0..MAX_CONNECTIONS / 2).map(|_| TcpStream::connect(server.addresses()[0]).unwrap()).collect();
        assert!(ask(&server, b"GET / HTTP/1.1\r\nhost: h\r\n\r\n").ends_with("here"));
        drop(silent);
    }

    #[test]
    fn dropping_frees_the_port_and_a_taken_port_is_named() {
        let server = start(|_: &Request| Response::not_found());
        let address = server.addresses()[0];
        let again = || Endpoint::bind(address, Arc::new(|_: &Request| Response::not_found()));
        let error = again().unwrap_err().to_string();
        assert!(error.starts_with(&format!("failed to bind to address {address}: ")), "{error}");
        drop(server);
        assert!(again().is_ok());
    }
}
