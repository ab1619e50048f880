//! The demo's application: HTTP that answers, an echo that repeats octets, and a private port nobody should reach.
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Connections served at the same time; further ones are closed at once.
const MAX_CONNECTIONS: usize = 256;
/// How long a client may be silent.
const SILENCE: Duration = Duration::from_secs(60);
/// Largest request head.
const MAX_HEAD: usize = 16 * 1024;

/// The running application. It ends with the process.
#[derive(Debug)]
pub(super) struct Application {
    /// HTTP: says hello to GET, repeats what is sent with POST.
    pub(super) http: SocketAddr,
    /// Repeats octets (RFC 862).
    pub(super) echo: SocketAddr,
    /// HTTP that a policy closes.
    pub(super) private: SocketAddr,
    reached: Arc<AtomicUsize>,
}

impl Application {
    /// Listens on free ports of `address`.
    pub(super) fn start(address: Ipv4Addr) -> io::Result<Self> {
        let reached = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&reached);
        Ok(Self {
            http: serve(address, hello)?,
            echo: serve(address, repeat)?,
            private: serve(address, move |stream| {
                count.fetch_add(1, Ordering::Relaxed);
                hello(stream)
            })?,
            reached,
        })
    }

    /// How many connections the private port has seen.
    pub(super) fn private_reached(&self) -> usize {
        self.reached.load(Ordering::Relaxed)
    }
}

/// Serves each connection on a thread of its own.
fn serve(
    address: Ipv4Addr,
    handle: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((address, 0))?;
    let address = listener.local_addr()?;
    let live = Arc::new(AtomicUsize::new(0));
    let accept = move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                // Out of descriptors, most likely: let others finish first.
                std::thread::sleep(Duration::from_millis(50));
                continue;
            };
            if live.load(Ordering::Relaxed) >= MAX_CONNECTIONS {
                continue;
            }
            live.fetch_add(1, Ordering::Relaxed);
            let (handle, done) = (handle.clone(), Arc::clone(&live));
            let work = move || {
                // A visitor who leaves early is no fault of the demo.
                let _ = stream.set_read_timeout(Some(SILENCE)).and_then(|()| handle(stream));
                done.fetch_sub(1, Ordering::Relaxed);
            };
            if std::thread::Builder::new().name("demo-app".to_owned()).spawn(work).is_err() {
                live.fetch_sub(1, Ordering::Relaxed);
            }
        }
    };
    std::thread::Builder::new().name("demo-listen".to_owned()).spawn(accept)?;
    Ok(address)
}

/// Repeats octets until the end, then ends as well.
fn repeat(mut stream: TcpStream) -> io::Result<()> {
    io::copy(&mut stream.try_clone()?, &mut stream)?;
    stream.shutdown(Shutdown::Write)
}

/// Answers one HTTP request.
fn hello(mut stream: TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    let end = loop {
        let mut chunk = [0; 4096];
        let n = stream.read(&mut chunk)?;
        head.extend_from_slice(&chunk[..n]);
        if let Some(end) = head.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
        if n == 0 || head.len() > MAX_HEAD {
            return stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    };
    let body = head.split_off(end);
    let head = String::from_utf8_lossy(&head).into_owned();
    let request = head.lines().next().unwrap_or_default();
    let length = content_length(&head);
    if head.to_ascii_lowercase().contains("\r\nexpect: 100-continue\r\n") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let from = stream.peer_addr()?;
    let greeting = match length {
        0 => format!("hello from echo, which received: {request}\nthe connection came from {from}\n"),
        _ => String::new(),
    };
    let answer_length = length + greeting.len() as u64;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nserver: adit-demo\r\ncontent-type: text/plain; charset=utf-8\r\n\
         content-length: {answer_length}\r\nconnection: close\r\n\r\n{greeting}"
    )?;
    let mut rest = io::Cursor::new(body).chain(stream.try_clone()?).take(length);
    io::copy(&mut rest, &mut stream)?;
    stream.shutdown(Shutdown::Write)
}

/// The length of the body that a request announces; 0 without one.
fn content_length(head: &str) -> u64 {
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    };
    head.lines().skip(1).find_map(header).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn the_application_answers_and_repeats() {
        let application = Application::start(Ipv4Addr::LOCALHOST).unwrap();
        let answer = ask(application.http, "GET /some/path HTTP/1.1\r\nhost: x\r\n\r\n");
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains("GET /some/path HTTP/1.1"),
            "{answer}"
        );
        let answer = ask(application.http, "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n12345");
        assert!(answer.ends_with("\r\ncontent-length: 5\r\nconnection: close\r\n\r\n12345"), "{answer}");
        assert_eq!(application.private_reached(), 0);
        ask(application.private, "GET / HTTP/1.1\r\n\r\n");
        assert_eq!(application.private_reached(), 1);

        let mut stream = TcpStream::connect(application.echo).unwrap();
        stream.write_all(b"abc").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "abc");
    }
}
