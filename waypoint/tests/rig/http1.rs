//! A client of HTTP/1.1 that keeps its connection, and reads what comes octet by octet.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::Value;

use super::PATIENCE;

pub struct Client(pub BufReader<TcpStream>);

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// What the application tells of the request.
    pub fn told(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    fn text(&self, name: &str) -> String {
        self.told()[name].as_str().unwrap_or("-").to_owned()
    }

    /// Which application has answered.
    pub fn app(&self) -> String {
        self.text("app")
    }

    /// The path it was asked for.
    pub fn path(&self) -> String {
        self.text("path")
    }

    /// The host it was asked for.
    pub fn host(&self) -> String {
        self.text("host")
    }

    /// A header that the application saw.
    pub fn saw(&self, name: &str) -> Option<String> {
        self.told()["headers"][name].as_str().map(str::to_owned)
    }
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self::open(address).unwrap()
    }

    pub fn open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends octets as they are.
    pub fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(octets.as_ref()).unwrap();
    }

    pub fn end(&self) {
        self.0.get_ref().shutdown(Shutdown::Write).unwrap();
    }

    pub fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.try_ask(method, path, headers, body).unwrap()
    }

    pub fn try_ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Reply, String> {
        let text = |error: std::io::Error| error.to_string();
        self.0.get_mut().write_all(&request(method, path, headers, body)).map_err(text)?;
        self.try_read(method == "HEAD")
    }

    pub fn read(&mut self) -> Reply {
        self.try_read(false).unwrap()
    }

    /// Everything until the other side ends.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = self.0.read_to_end(&mut rest);
        rest
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.0.read_line(&mut line).map_err(|error| error.to_string())?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(format!("the line {line:?} does not end")),
        }
    }

    fn fields(&mut self) -> Result<Vec<(String, String)>, String> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let (name, value) = line.split_once(':').ok_or("a field without colon")?;
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// An answer, complete; or why it is none.
    pub fn try_read(&mut self, head_only: bool) -> Result<Reply, String> {
        let line = self.line()?;
        let status = line.strip_prefix("HTTP/1.").and_then(|line| line.get(2..5)?.parse().ok());
        let status: u16 = status.ok_or_else(|| format!("no answer, but {line:?}"))?;
        let headers = self.fields()?;
        let mut reply = Reply { status, headers, body: Vec::new(), trailers: Vec::new() };
        if head_only || matches!(status, 100..=199 | 204 | 304) {
            return Ok(reply);
        }
        if reply.header("transfer-encoding") == Some("chunked") {
            loop {
                let line = self.line()?;
                let size = usize::from_str_radix(&line, 16).map_err(|error| error.to_string())?;
                if size == 0 {
                    break;
                }
                let from = reply.body.len();
                reply.body.resize(from + size, 0);
                self.0.read_exact(&mut reply.body[from..]).map_err(|error| error.to_string())?;
                self.line()?;
            }
            reply.trailers = self.fields()?;
        } else if let Some(length) = reply.header("content-length") {
            let length = length.parse().map_err(|_| "content-length is no number")?;
            reply.body.resize(length, 0);
            self.0.read_exact(&mut reply.body).map_err(|error| error.to_string())?;
        } else {
            self.0.read_to_end(&mut reply.body).map_err(|error| error.to_string())?;
        }
        Ok(reply)
    }
}

/// A request, with `host: echo` unless `headers` has another.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        text.push_str("host: echo\r\n");
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    [text.as_bytes(), body].concat()
}
