//! Fetching a set of keys: by its URL, or by the issuer's own description of itself (OpenID Connect Discovery 1.0 §4).
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use adit_core::l7::jwt::KeySource;
use http::header::{CACHE_CONTROL, HOST};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body::Body as _;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::dns;
use crate::grpc::{Roots, RootsError, reach};

/// Octets of an answer, at most.
const MAX_ANSWER: usize = 1 << 20;
/// Below an issuer: its description.
const WELL_KNOWN: &str = ".well-known/openid-configuration";

/// What is needed to fetch.
#[derive(Clone, Debug)]
pub struct Fetcher {
    /// Who vouches for servers of `https` URLs.
    pub roots: Roots,
    /// Mark of packets, so that redirection leaves them alone (see [`Connector`](crate::grpc::Connector)).
    pub mark: Option<u32>,
    /// Who looks names up, where the machine's resolver would be redirected to ourselves.
    pub names: Option<dns::Names>,
}

/// A set as it was fetched, still to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The answer.
    pub text: Vec<u8>,
    /// How long its server says it is good for.
    pub max_age: Option<Duration>,
}

/// Why it could not be fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// There is nowhere to fetch from.
    #[error("no URL to fetch keys from")]
    NoUrl,
    /// It is no URL that can be fetched.
    #[error("{0:?} is no http or https URL with a host and without a user")]
    Url(String),
    /// No roots to recognise the server by.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// No connection, or it broke.
    #[error("{url}: {problem}")]
    Connection {
        /// What was to be fetched.
        url: String,
        /// What happened.
        problem: String,
    },
    /// The server answers something else. Redirections are not followed: the URL must be the final one.
    #[error("{url} answers with status {status}")]
    Status {
        /// What was to be fetched.
        url: String,
        /// What came.
        status: u16,
    },
    /// The answer does not end.
    #[error("{0} answers with more than {MAX_ANSWER} octets")]
    TooLong(String),
    /// It takes too long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The issuer's description is none, or that of another issuer.
    #[error("{url}: {problem}")]
    Discovery {
        /// Of the description.
        url: String,
        /// What is wrong.
        problem: String,
    },
}

#[derive(Deserialize)]
struct Description {
    issuer: String,
    jwks_uri: String,
}

impl Fetcher {
    /// Fetches a set.
    ///
    /// # Errors
    /// Says at which step it failed.
    pub async fn fetch(&self, source: &KeySource) -> Result<Fetched, FetchError> {
        match source {
            KeySource::Inline(_) | KeySource::Unusable(_) => Err(FetchError::NoUrl),
            KeySource::Uri { url, timeout: within } => {
                timeout(*within, self.get(url)).await.unwrap_or(Err(FetchError::Timeout(*within)))
            }
            KeySource::Discovery { issuer, timeout: within } => {
                timeout(*within, self.discover(issuer)).await.unwrap_or(Err(FetchError::Timeout(*within)))
            }
        }
    }

    async fn discover(&self, issuer: &str) -> Result<Fetched, FetchError> {
        let url = format!("{}/{WELL_KNOWN}", issuer.strip_suffix('/').unwrap_or(issuer));
        let wrong = |problem: String| FetchError::Discovery { url: url.clone(), problem };
        let answer = self.get(&url).await?;
        let description: Description =
            serde_json::from_slice(&answer.text).map_err(|error| wrong(error.to_string()))?;
        // §4.3: or anybody could speak for an issuer by serving a file.
        if description.issuer != issuer {
            return Err(wrong(format!(
                "is the description of {:?}, and not of {issuer:?}",
                description.issuer
            )));
        }
        if issuer.starts_with("https:") && !description.jwks_uri.starts_with("https:") {
            return Err(wrong(format!(
                "its keys are at {:?}, which anybody on the way can change",
                description.jwks_uri
            )));
        }
        self.get(&description.jwks_uri).await
    }

    async fn get(&self, url: &str) -> Result<Fetched, FetchError> {
        let bad = || FetchError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let (Some(authority), Some(scheme)) = (uri.authority(), uri.scheme_str()) else { return Err(bad()) };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let default = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return Err(bad()),
        };
        if host.is_empty() || authority.as_str().contains('@') {
            return Err(bad());
        }
        let broken = |problem: &dyn std::fmt::Display| FetchError::Connection {
            url: url.to_owned(),
            problem: problem.to_string(),
        };
        let port = authority.port_u16().unwrap_or(default);
        let tcp = reach(host, port, self.names.as_ref(), self.mark).await.map_err(|error| broken(&error))?;
        if scheme == "http" {
            return ask(tcp, &uri, url).await;
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|_| bad())?;
        let tls = TlsConnector::from(Arc::new(self.tls(&broken)?));
        ask(tls.connect(name, tcp).await.map_err(|error| broken(&error))?, &uri, url).await
    }

    /// TLS 1.3, the server proves who it is, we do not.
    fn tls(
        &self,
        broken: &impl Fn(&dyn std::fmt::Display) -> FetchError,
    ) -> Result<ClientConfig, FetchError> {
        let roots = self.roots.load()?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| broken(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

async fn ask<S>(stream: S, uri: &Uri, url: &str) -> Result<Fetched, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |problem: &dyn std::fmt::Display| FetchError::Connection {
        url: url.to_owned(),
        problem: problem.to_string(),
    };
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    // Dropped with the answer: its error is told where the answer is awaited.
    let connection = AbortOnDrop(tokio::spawn(async move { drop(connection.await) }));
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let request = Request::get(path)
        .header(HOST, authority)
        .header("accept", "application/json")
        .header("user-agent", "adit")
        .body(String::new())
        .map_err(|error| broken(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| broken(&error))?;
    if answer.status() != StatusCode::OK {
        return Err(FetchError::Status { url: url.to_owned(), status: answer.status().as_u16() });
    }
    let max_age = max_age(answer.headers());
    let mut body = answer.into_body();
    let mut text = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|error| broken(&error))?;
        text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        if text.len() > MAX_ANSWER {
            return Err(FetchError::TooLong(url.to_owned()));
        }
    }
    drop(connection);
    Ok(Fetched { text, max_age })
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// For how long an answer is good (RFC 9111 §5.2.2); what shall not be kept at all is good for no time.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let directives = values.flat_map(|value| value.split(',')).map(|part| part.trim().to_ascii_lowercase());
    let ages = directives.filter_map(|directive| match directive.split_once('=') {
        None if matches!(&*directive, "no-store" | "no-cache") => Some(0),
        Some(("max-age", seconds)) => seconds.trim_matches('"').parse().ok(),
        _ => None,
    });
    ages.min().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    type Answers = BTreeMap<String, String>;

    /// Answers each connection's one request from a table, by path.
    async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answers: &Answers) {
        let (mut asked, mut buffer) = (Vec::new(), [0; 1024]);
        while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read(&mut buffer).await {
                Ok(count @ 1..) => asked.extend_from_slice(&buffer[..count]),
                _ => return,
            }
        }
        let asked = String::from_utf8(asked).unwrap();
        let path = asked.split(' ').nth(1).unwrap();
        let missing = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned();
        let text = answers.get(path).unwrap_or(&missing);
        // Whoever has heard enough may have gone.
        drop(stream.write_all(text.as_bytes()).await);
        drop(stream.shutdown().await);
    }

    /// A server, over TLS if there is a configuration; `answers` is made for its port.
    async fn serve(tls: Option<Arc<rustls::ServerConfig>>, answers: impl FnOnce(u16) -> Answers) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers = answers(port);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                match &tls {
                    None => answer(tcp, &answers).await,
                    Some(config) => {
                        let accepted = tokio_rustls::TlsAcceptor::from(Arc::clone(config)).accept(tcp).await;
                        if let Ok(stream) = accepted {
                            answer(stream, &answers).await;
                        }
                    }
                }
            }
        });
        port
    }

    fn ok(body: &str, more: &str) -> String {
        format!("HTTP/1.1 200 OK\r\n{more}content-length: {}\r\n\r\n{body}", body.len())
    }

    fn fetcher(roots: Roots) -> Fetcher {
        Fetcher { roots, mark: None, names: None }
    }

    const WITHIN: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn sets_are_fetched_by_http() {
        let long = "x".repeat(MAX_ANSWER + 1);
        let port = serve(None, |_| {
            [
                ("/keys?v=1".to_owned(), ok("{}", "Cache-Control: public, max-age=300\r\n")),
                ("/plain".to_owned(), ok("[]", "")),
                ("/long".to_owned(), ok(&long, "")),
                (
                    "/moved".to_owned(),
                    "HTTP/1.1 301 Moved\r\nlocation: /keys\r\ncontent-length: 0\r\n\r\n".into(),
                ),
                ("/broken".to_owned(), "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{".into()),
            ]
            .into()
        })
        .await;
        let fetcher = fetcher(Roots::System);
        let get = async |path: &str| {
            let url = format!("http://127.0.0.1:{port}{path}");
            fetcher.fetch(&KeySource::Uri { url: url.into(), timeout: WITHIN }).await
        };
        let max_age = Some(Duration::from_secs(300));
        assert_eq!(get("/keys?v=1").await, Ok(Fetched { text: b"{}".to_vec(), max_age }));
        assert_eq!(get("/plain").await, Ok(Fetched { text: b"[]".to_vec(), max_age: None }));
        assert!(matches!(get("/moved").await, Err(FetchError::Status { status: 301, .. })));
        assert!(matches!(get("/none").await, Err(FetchError::Status { status: 404, .. })));
        assert!(matches!(get("/long").await, Err(FetchError::TooLong(_))));
        assert!(matches!(get("/broken").await, Err(FetchError::Connection { .. })));
        for url in ["ftp://127.0.0.1/", "/keys", "http://user@127.0.0.1/", ""] {
            let source = KeySource::Uri { url: url.into(), timeout: WITHIN };
            assert_eq!(fetcher.fetch(&source).await, Err(FetchError::Url(url.to_owned())));
        }
        assert_eq!(fetcher.fetch(&KeySource::Inline("{}".into())).await, Err(FetchError::NoUrl));
    }

    #[tokio::test]
    async fn an_issuer_describes_itself_and_nobody_else() {
        let port = serve(None, |port| {
            let at = |path: &str, issuer: &str, keys: &str| {
                let text = format!(r#"{{"issuer": "{issuer}", "jwks_uri": "{keys}", "more": 1}}"#);
                (format!("{path}/{WELL_KNOWN}"), ok(&text, ""))
            };
            let own = format!("http://127.0.0.1:{port}");
            [
                at("/a", &format!("{own}/a/"), &format!("{own}/keys")),
                at("/b", &format!("{own}/a/"), &format!("{own}/keys")),
                ("/keys".to_owned(), ok("{}", "")),
            ]
            .into()
        })
        .await;
        let discover = async |path: &str| {
            let issuer = format!("http://127.0.0.1:{port}{path}");
            let source = KeySource::Discovery { issuer: issuer.into(), timeout: WITHIN };
            fetcher(Roots::System).fetch(&source).await
        };
        assert_eq!(discover("/a/").await.map(|fetched| fetched.text), Ok(b"{}".to_vec()));
        for (path, problem) in [("/a", "and not of"), ("/b/", "and not of"), ("/c/", "404")] {
            let error = discover(path).await.unwrap_err().to_string();
            assert!(error.contains(problem), "{path}: {error}");
        }
    }

    #[tokio::test]
    async fn over_tls_the_server_proves_who_it_is() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let pem = made.cert.pem();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        let port = serve(Some(Arc::new(config)), |_| [("/keys".to_owned(), ok("{}", ""))].into()).await;
        let get = async |roots: Roots, host: &str| {
            let url = format!("https://{host}:{port}/keys");
            fetcher(roots).fetch(&KeySource::Uri { url: url.into(), timeout: WITHIN }).await
        };
        let ours = || Roots::Pem(pem.clone());
        assert_eq!(get(ours(), "localhost").await.map(|fetched| fetched.text), Ok(b"{}".to_vec()));
        assert!(matches!(get(ours(), "127.0.0.1").await, Err(FetchError::Connection { .. })));
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
        assert!(matches!(get(Roots::Pem(other), "localhost").await, Err(FetchError::Connection { .. })));
        assert!(matches!(get(Roots::Pem(String::new()), "localhost").await, Err(FetchError::Roots(_))));
    }

    #[test]
    fn how_long_an_answer_is_good_for() {
        for (values, expected) in [
            (&[][..], None),
            (&["max-age=60"][..], Some(60)),
            (&["public, MAX-AGE=\"60\", immutable"], Some(60)),
            (&["max-age=60", "no-cache"], Some(0)),
            (&["no-store"], Some(0)),
            (&["max-age=soon"], None),
            (&["private"], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CACHE_CONTROL, value.parse().unwrap());
            }
            assert_eq!(max_age(&headers), expected.map(Duration::from_secs), "{values:?}");
        }
    }
}
