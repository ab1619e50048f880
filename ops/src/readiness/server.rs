//! The readiness server: one thread, a few connections at a time, each with a deadline and a size limit.
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Readiness;
use super::http::{self, Head};

/// Connections served at the same time; further ones wait in the listen queue.
const MAX_CONNECTIONS: usize = 64;
/// How long a client may take from its connection to the end of our answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long accepting rests after an error such as too many open files.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Why the server did not start.
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
    /// The thread or its wake-up pipe could not be made.
    #[error("the readiness thread cannot be started: {0}")]
    Thread(io::Error),
}

/// A running readiness server; dropping it stops it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    /// Closing it wakes the thread and tells it to end.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on `address` and answers from `readiness` on a thread of its own.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub fn start(address: SocketAddr, readiness: Readiness) -> Result<Self, ServerError> {
        let bind = |cause| ServerError::Bind { address, cause };
        let listener = TcpListener::bind(address).map_err(bind)?;
        listener.set_nonblocking(true).map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let (stop, stopped) = UnixStream::pair().map_err(ServerError::Thread)?;
        let thread = std::thread::Builder::new()
            .name("adit-readiness".to_owned())
            .spawn(move || Loop { listener, stopped, readiness, clients: Vec::new(), rest_until: None }.run())
            .map_err(ServerError::Thread)?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens; tells the port when 0 was asked for.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One client: first its request is read, then the answer is written.
struct Client {
    stream: TcpStream,
    deadline: Instant,
    input: Vec<u8>,
    /// The answer and how much of it has been written; the end of our half was sent when all of it was.
    output: Option<(Vec<u8>, usize)>,
}

impl Client {
    fn new(stream: TcpStream, now: Instant) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, deadline: now + CLIENT_TIMEOUT, input: Vec::new(), output: None })
    }

    fn interest(&self) -> PollFlags {
        match &self.output {
            Some((bytes, written)) if *written < bytes.len() => PollFlags::OUT,
            _ => PollFlags::IN,
        }
    }

    /// Does what can be done now; `false` when the client is finished or lost.
    fn turn(&mut self, readiness: &Readiness) -> bool {
        match self.try_turn(readiness) {
            Ok(more) => more,
            Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        }
    }

    fn try_turn(&mut self, readiness: &Readiness) -> io::Result<bool> {
        loop {
            if let Some((bytes, written)) = &mut self.output {
                while *written < bytes.len() {
                    *written += self.stream.write(&bytes[*written..])?;
                    if *written == bytes.len() {
                        self.stream.shutdown(std::net::Shutdown::Write)?;
                    }
                }
                // Closing with unread input would reset the connection and may cost the client our answer,
                // so what it still sends is read and dropped, until its end or the deadline.
                let mut dropped = [0; 1024];
                if self.stream.read(&mut dropped)? == 0 {
                    return Ok(false);
                }
            } else {
                let mut chunk = [0; 1024];
                let n = self.stream.read(&mut chunk)?;
                self.input.extend_from_slice(&chunk[..n]);
                self.output = match http::parse(&self.input) {
                    _ if n == 0 => return Ok(false),
                    Head::Incomplete => None,
                    Head::Bad => Some((http::response(400, ""), 0)),
                    Head::Request { method, path } => {
                        Some((http::answer(method, path, &readiness.pending()), 0))
                    }
                };
            }
        }
    }
}

struct Loop {
    listener: TcpListener,
    stopped: UnixStream,
    readiness: Readiness,
    clients: Vec<Client>,
    rest_until: Option<Instant>,
}

impl Loop {
    fn run(mut self) {
        loop {
            let now = Instant::now();
            self.rest_until = self.rest_until.filter(|until| *until > now);
            let accepting = self.rest_until.is_none() && self.clients.len() < MAX_CONNECTIONS;
            let wake = self.clients.iter().map(|c| c.deadline).chain(self.rest_until).min();
            let timeout =
                wake.map(|at| at.saturating_duration_since(now)).and_then(|d| Timespec::try_from(d).ok());
            let listen_interest = if accepting { PollFlags::IN } else { PollFlags::empty() };
            let mut fds = Vec::with_capacity(self.clients.len() + 2);
            fds.push(PollFd::new(&self.stopped, PollFlags::IN));
            fds.push(PollFd::new(&self.listener, listen_interest));
            fds.extend(self.clients.iter().map(|c| PollFd::new(&c.stream, c.interest())));
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, "the readiness server cannot wait for events and ends");
                    return;
                }
            }
            let mut happened = fds.iter().map(|fd| !fd.revents().is_empty());
            let (stop, accept) = (happened.next() == Some(true), happened.next() == Some(true));
            let ready: Vec<bool> = happened.collect();
            if stop {
                return;
            }
            let now = Instant::now();
            let mut ready = ready.into_iter();
            let readiness = &self.readiness;
            self.clients.retain_mut(|client| {
                let ready = ready.next() == Some(true);
                client.deadline > now && (!ready || client.turn(readiness))
            });
            if accept && accepting {
                self.accept(now);
            }
        }
    }

    fn accept(&mut self, now: Instant) {
        match self.listener.accept().and_then(|(stream, _)| Client::new(stream, now)) {
            Ok(client) => self.clients.push(client),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                tracing::warn!(%error, "the readiness server cannot accept a connection; it rests and tries again");
                self.rest_until = Some(now + ACCEPT_REST);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(server: &Server, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    const GET: &[u8] = b"GET /healthz/ready HTTP/1.1\r\nhost: x\r\n\r\n";

    #[test]
    fn answers_follow_the_pending_tasks() {
        let readiness = Readiness::new();
        let task = readiness.wait_for("proxy");
        let server = Server::start("127.0.0.1:0".parse().unwrap(), readiness).unwrap();
        assert!(ask(&server, GET).ends_with("not ready, pending: proxy\n"));
        task.done();
        assert!(ask(&server, GET).ends_with("\r\n\r\nready\n"));
        assert!(ask(&server, b"PUT /healthz/ready HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
        assert!(ask(&server, b"GET /x HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
        assert!(ask(&server, b"\x16\x03\x01 garbage").starts_with("HTTP/1.1 400 "));
    }

    #[test]
    fn silent_clients_do_not_keep_others_waiting() {
        let server = Server::start("127.0.0.1:0".parse().unwrap(), Readiness::new()).unwrap();
        let silent: Vec<_> =
            (0..MAX_CONNECTIONS / 2).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
        assert!(ask(&server, GET).ends_with("ready\n"));
        drop(silent);
    }

    #[test]
    fn dropping_frees_the_port_and_a_taken_port_is_named() {
        let server = Server::start("127.0.0.1:0".parse().unwrap(), Readiness::new()).unwrap();
        let address = server.address();
        let error = Server::start(address, Readiness::new()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("failed to bind to address {address}: ")), "{error}");
        drop(server);
        assert!(Server::start(address, Readiness::new()).is_ok());
    }
}
