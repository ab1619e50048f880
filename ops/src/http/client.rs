//! One GET in plaintext, bounded in time and size.
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::time::Duration;

use http_body::Body as _;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Body;

/// How much of the text of another status than 200 is told, in octets.
const MAX_SAID: usize = 1000;

/// Where to ask: `http://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// `HOST:PORT`
    authority: String,
}

/// Why a text is no [`Origin`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("expected http://HOST:PORT, such as http://127.0.0.1:15000 (admin pages speak no TLS)")]
pub struct OriginError;

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let rest = text.strip_prefix("http://").ok_or(OriginError)?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let parsed: hyper::http::uri::Authority = authority.parse().map_err(|_| OriginError)?;
        if parsed.port_u16().is_none() || parsed.host().is_empty() || authority.contains('@') {
            return Err(OriginError);
        }
        Ok(Self { authority: authority.to_owned() })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

/// How much an answer may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// From the connection to the last octet.
    pub time: Duration,
    /// Octets of the body.
    pub octets: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// There is no runtime to ask on.
    #[error("cannot ask {origin}: {cause}")]
    Runtime {
        /// Who was to be asked.
        origin: Origin,
        /// What the system said.
        cause: io::Error,
    },
    /// No connection.
    #[error("nothing answers at {origin}: {cause}")]
    Connect {
        /// Who was asked.
        origin: Origin,
        /// What the system said.
        cause: io::Error,
    },
    /// The connection broke off, or what came is no HTTP.
    #[error("no whole answer from {origin}: {cause}")]
    Http {
        /// Who was asked.
        origin: Origin,
        /// What is wrong.
        cause: hyper::Error,
    },
    /// Another status than 200.
    #[error("{origin}{path} answers with status {status}{}{said}", if said.is_empty() { "" } else { ": " })]
    Status {
        /// Who was asked.
        origin: Origin,
        /// For what.
        path: String,
        /// The status.
        status: u16,
        /// The beginning of what it says about it.
        said: String,
    },
    /// The body is longer than allowed.
    #[error("the answer from {origin} is longer than {octets} octets")]
    TooLong {
        /// Who was asked.
        origin: Origin,
        /// The bound.
        octets: usize,
    },
    /// It took longer than allowed.
    #[error("no whole answer from {origin} within {} s", .time.as_secs())]
    TooSlow {
        /// Who was asked.
        origin: Origin,
        /// The bound.
        time: Duration,
    },
}

/// The body of the answer to `GET path`. Blocks; not for threads that run a tokio runtime.
///
/// # Errors
/// Any of [`ClientError`].
pub fn get(origin: &Origin, path: &str, bounds: Bounds) -> Result<Vec<u8>, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(|cause| ClientError::Runtime { origin: origin.clone(), cause })?;
    let asked = async { tokio::time::timeout(bounds.time, ask(origin, path, bounds.octets)).await };
    let slow = |_| ClientError::TooSlow { origin: origin.clone(), time: bounds.time };
    runtime.block_on(asked).unwrap_or_else(|elapsed| Err(slow(elapsed)))
}

async fn ask(origin: &Origin, path: &str, octets: usize) -> Result<Vec<u8>, ClientError> {
    let broken = |cause| ClientError::Http { origin: origin.clone(), cause };
    let stream = TcpStream::connect(&origin.authority).await;
    let stream = stream.map_err(|cause| ClientError::Connect { origin: origin.clone(), cause })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Its errors are those of the request as well.
    tokio::spawn(connection);
    let mut request = hyper::Request::new(Body::Whole(Bytes::new()));
    // Only a path of ours comes here; one that is no URI would be the root.
    *request.uri_mut() = path.parse().unwrap_or_default();
    if let Ok(host) = origin.authority.parse() {
        request.headers_mut().insert(hyper::header::HOST, host);
    }
    let response = sender.send_request(request).await.map_err(broken)?;
    if response.status() != hyper::StatusCode::OK {
        let status = response.status().as_u16();
        // Nothing said is as good as a text that breaks off.
        let said = data(&mut response.into_body()).await.ok().flatten().unwrap_or_default();
        let said = String::from_utf8_lossy(said.get(..MAX_SAID).unwrap_or(&said)).trim().to_owned();
        return Err(ClientError::Status { origin: origin.clone(), path: path.to_owned(), status, said });
    }
    let mut body = response.into_body();
    let mut whole = Vec::new();
    while let Some(data) = data(&mut body).await.map_err(broken)? {
        if data.len() > octets.saturating_sub(whole.len()) {
            return Err(ClientError::TooLong { origin: origin.clone(), octets });
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

/// The next octets; trailers are passed over.
async fn data(body: &mut Incoming) -> hyper::Result<Option<Bytes>> {
    while let Some(frame) = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
        if let Ok(data) = frame?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::super::server::tests::start;
    use super::super::{Request, Response};
    use super::*;

    const BOUNDS: Bounds = Bounds { time: Duration::from_secs(30), octets: 1 << 20 };

    fn origin(address: impl fmt::Display) -> Origin {
        format!("http://{address}").parse().unwrap()
    }

    #[test]
    fn origins() {
        for good in ["http://127.0.0.1:15000", "http://[::1]:15000/", "http://localhost:1"] {
            assert_eq!(good.parse::<Origin>().unwrap().to_string(), good.trim_end_matches('/'));
        }
        for bad in ["https://a:1", "a:1", "http://a", "http://a:1/x", "http://:1", "http://u@a:1", "http://"]
        {
            assert_eq!(bad.parse::<Origin>(), Err(OriginError), "{bad}");
        }
    }

    #[test]
    fn a_long_body_comes_whole_up_to_the_bound() {
        let server = start(|request: &Request| match request.target.path.as_str() {
            "/long" => Response::ok("x/y", Body::Chunks(Box::new((0..100u8).map(|octet| vec![octet; 1000])))),
            _ => Response::not_found(),
        });
        let origin = origin(server.addresses()[0]);
        let body = get(&origin, "/long", BOUNDS).unwrap();
        assert_eq!((body.len(), body[99_999]), (100_000, 99));
        let exact = Bounds { octets: 100_000, ..BOUNDS };
        assert_eq!(get(&origin, "/long", exact).unwrap().len(), 100_000);
        let short = Bounds { octets: 99_999, ..BOUNDS };
        assert!(matches!(get(&origin, "/long", short), Err(ClientError::TooLong { octets: 99_999, .. })));
        let error = get(&origin, "/else", BOUNDS).unwrap_err().to_string();
        assert_eq!(error, format!("{origin}/else answers with status 404"));
    }

    #[test]
    fn nobody_silence_and_nonsense() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let quick = Bounds { time: Duration::from_millis(50), ..BOUNDS };
        // The listen queue takes the connection, and nobody answers.
        assert!(matches!(get(&origin(address), "/", quick), Err(ClientError::TooSlow { .. })));
        let garbage = std::thread::spawn(move || {
            let (_, _) = listener.accept().unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"SSH-2.0-x\r\n\r\n").unwrap();
        });
        assert!(matches!(get(&origin(address), "/", BOUNDS), Err(ClientError::Http { .. })));
        garbage.join().unwrap();
        let error = get(&origin(address), "/", BOUNDS).unwrap_err().to_string();
        assert!(error.starts_with(&format!("nothing answers at http://{address}: ")), "{error}");
    }
}
