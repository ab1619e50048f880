//! What one client may do to a waypoint. Each flood goes on until it is dropped.
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::rig::{Client, Rig, http1, soon};

/// What its threads have in common.
#[derive(Default)]
struct Common {
    /// How far it has come.
    done: AtomicUsize,
    stop: AtomicBool,
}

impl Common {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    fn one_more(&self) {
        self.done.fetch_add(1, Ordering::SeqCst);
    }
}

/// A flood that is under way.
pub(crate) struct Flood {
    common: Arc<Common>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.common.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "a flood has failed");
        }
    }
}

/// Starts `count` threads, and waits until they have done `enough` between them.
fn flood(count: usize, enough: usize, run: impl Fn(&Common) + Send + Sync + 'static) -> Flood {
    let (common, run) = (Arc::<Common>::default(), Arc::new(run));
    let start = |_| {
        let (common, run) = (Arc::clone(&common), Arc::clone(&run));
        std::thread::spawn(move || run(&common))
    };
    let flood = Flood { threads: (0..count).map(start).collect(), common: Arc::clone(&common) };
    soon(|| {
        common.done.load(Ordering::SeqCst) >= enough || flood.threads.iter().any(JoinHandle::is_finished)
    });
    assert!(common.done.load(Ordering::SeqCst) >= enough, "the flood has ended too soon");
    flood
}

/// Where the client that floods begins.
fn entry(rig: &Rig, service: &str) -> SocketAddr {
    rig.world.entry("flood", service, 80).unwrap()
}

/// Opens connections without end, each for one request, of which hundreds stay.
pub(crate) fn connections(rig: &Rig) -> Flood {
    let entry = entry(rig, "echo");
    flood(4, 400, move |common| {
        let mut open = std::collections::VecDeque::new();
        while common.goes_on() {
            let mut client = Client::new(entry);
            assert_eq!(client.ask("GET", "/flood", &[], b"").status, 200);
            open.push_back(client);
            if open.len() > 100 {
                open.pop_front();
            }
            common.one_more();
        }
    })
}

/// Requests that the client does not wait for, sent on `count` connections until each has been answered nothing for a while.
fn pending(entry: SocketAddr, count: usize, head: &'static str) -> Flood {
    flood(count, count, move |common| {
        let mut client = Client::new(entry);
        client.send(head);
        common.one_more();
        client.0.get_ref().set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        while common.goes_on() {
            // An answer would be of no interest.
            let _ = client.0.get_mut().read(&mut [0; 64]);
        }
    })
}

/// Requests that the application takes a long time to answer.
pub(crate) fn slow_answers(rig: &Rig) -> Flood {
    pending(entry(rig, "echo"), 64, "GET /slow HTTP/1.1\r\nhost: a\r\nx-app-delay-ms: 600000\r\n\r\n")
}

/// Requests that are delayed on purpose.
pub(crate) fn delayed(rig: &Rig) -> Flood {
    pending(entry(rig, "delayed"), 64, "GET /delayed HTTP/1.1\r\nhost: a\r\n\r\n")
}

/// Streams of HTTP/2: as many as a connection may have, on some connections, all of which wait for the application.
pub(crate) fn streams(rig: &Rig) -> Flood {
    let entry = entry(rig, "echo");
    flood(8, 8 * 100, move |common| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(entry).await.unwrap();
            let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
            let connection = tokio::spawn(connection);
            let mut waiting = Vec::new();
            for _ in 0..100 {
                sender = sender.ready().await.unwrap();
                let request = super::rig::h2c::request("GET", "/stream", &[("x-app-delay-ms", "600000")]);
                waiting.push(sender.send_request(request, true).unwrap());
                common.one_more();
            }
            while common.goes_on() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            drop(waiting);
            connection.abort();
        });
    })
}

/// Streams of HTTP/2 that are begun and taken back, without end.
pub(crate) fn resets(rig: &Rig) -> Flood {
    let entry = entry(rig, "echo");
    flood(2, 500, move |common| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            // Whoever is cut off for it begins anew.
            while common.goes_on() {
                let Ok(stream) = tokio::net::TcpStream::connect(entry).await else { continue };
                let Ok((mut sender, connection)) = h2::client::handshake(stream).await else { continue };
                let connection = tokio::spawn(connection);
                while common.goes_on() {
                    sender = match sender.ready().await {
                        Ok(sender) => sender,
                        Err(_) => break,
                    };
                    let request = super::rig::h2c::request("GET", "/reset", &[]);
                    let Ok((_, mut stream)) = sender.send_request(request, false) else { break };
                    stream.send_reset(h2::Reason::CANCEL);
                    common.one_more();
                    tokio::task::yield_now().await;
                }
                connection.abort();
            }
        });
    })
}

/// Uploads to somebody who reads none of it.
pub(crate) fn uploads(rig: &Rig) -> Flood {
    let entry = entry(rig, "deaf");
    flood(16, 16, move |common| {
        let mut client = Client::new(entry);
        client.send("POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000\r\n\r\n");
        client.0.get_ref().set_write_timeout(Some(Duration::from_millis(100))).unwrap();
        let octets = [b'x'; 64 << 10];
        let mut stuck = false;
        while common.goes_on() {
            if client.0.get_mut().write(&octets).is_err() && !std::mem::replace(&mut stuck, true) {
                common.one_more();
            }
        }
    })
}

/// Answers without end, of which nothing is read.
pub(crate) fn unread_answers(rig: &Rig) -> Flood {
    pending(entry(rig, "endless"), 16, "GET /endless HTTP/1.1\r\nhost: a\r\n\r\n")
}

/// Asks again and again, and is refused or fails.
fn again(entry: SocketAddr, path: &'static str, headers: &'static [(&str, &str)], status: u16) -> Flood {
    flood(4, 40, move |common| {
        let mut client = Client::new(entry);
        let request = http1::request("GET", path, headers, b"");
        while common.goes_on() {
            client.send(&request);
            assert_eq!(client.read().status, status);
            common.one_more();
        }
    })
}

/// Asks for more than a rate limit lets pass.
pub(crate) fn limited(rig: &Rig) -> Flood {
    again(entry(rig, "limited"), "/limited", &[], 429)
}

/// Asks for what fails, and is tried again each time.
pub(crate) fn retries(rig: &Rig) -> Flood {
    again(entry(rig, "echo"), "/retried", &[("x-app-status", "503")], 503)
}
