//! A client of HTTP/2 that knows the server speaks it.
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request};
use serde_json::Value;

use super::PATIENCE;

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl Reply {
    /// What the application tells of the request.
    pub fn told(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn app(&self) -> String {
        self.told()["app"].as_str().unwrap_or("-").to_owned()
    }

    pub fn saw(&self, name: &str) -> Option<String> {
        self.told()["headers"][name].as_str().map(str::to_owned)
    }
}

/// A request.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(format!("http://echo{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// A call of gRPC: one message that is not looked at.
pub fn call(path: &str, headers: &[(&str, &str)]) -> Request<()> {
    let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
    request("POST", path, &[&grpc[..], headers].concat())
}

/// Asks, one after the other, on one connection. Each request has `body`, then `trailers`.
pub fn ask(
    address: SocketAddr,
    requests: Vec<Request<()>>,
    body: &'static [u8],
    trailers: Option<HeaderMap>,
) -> Vec<Reply> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let asking = async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut replies = Vec::new();
        for request in requests {
            sender = sender.ready().await.unwrap();
            let (response, mut stream) = sender.send_request(request, false).unwrap();
            stream.send_data(Bytes::from_static(body), trailers.is_none()).unwrap();
            if let Some(trailers) = &trailers {
                stream.send_trailers(trailers.clone()).unwrap();
            }
            let (parts, mut incoming) = response.await.unwrap().into_parts();
            let mut octets = Vec::new();
            while let Some(data) = incoming.data().await {
                let data = data.unwrap();
                incoming.flow_control().release_capacity(data.len()).unwrap();
                octets.extend_from_slice(&data);
            }
            let trailers = incoming.trailers().await.unwrap();
            let (status, headers) = (parts.status.as_u16(), parts.headers);
            replies.push(Reply { status, headers, body: octets, trailers });
        }
        connection.abort();
        replies
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, asking).await.unwrap() })
}

/// Asks all at once, on one connection; gives the statuses.
pub fn ask_at_once(address: SocketAddr, requests: Vec<Request<()>>) -> Vec<u16> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let asking = async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut asked = Vec::new();
        for request in requests {
            sender = sender.ready().await.unwrap();
            asked.push(sender.send_request(request, true).unwrap().0);
        }
        let mut statuses = Vec::new();
        for response in asked {
            statuses.push(response.await.unwrap().status().as_u16());
        }
        connection.abort();
        statuses
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, asking).await }).unwrap()
}
