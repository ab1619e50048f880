//! Listening on the wire: whether a text goes by in the open, and whether tunnels do.
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use adit_testkit::netns::{HarnessError, Namespace};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, recv, socket_with};

use crate::Result;

/// `ETH_P_ALL`: frames of every protocol (packet(7)).
const EVERY: u16 = 3;
/// Where tunnels go.
const HBONE: u16 = 15008;
/// Between two looks whether to end.
const STEP: Duration = Duration::from_millis(50);

/// An ear on every interface of a namespace; it listens on a thread until it is dropped.
pub(crate) struct Wire {
    heard: Arc<Heard>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Heard {
    /// Frames with the text.
    open: AtomicUsize,
    /// Frames to [`HBONE`].
    tunnelled: AtomicUsize,
    stop: AtomicBool,
}

impl Wire {
    /// Listens for `text`, which must be short enough to go in one frame.
    pub(crate) fn tap(namespace: &Namespace, text: &'static str) -> Result<Self> {
        let every = NonZeroU32::new(EVERY.to_be().into()).map(Protocol::from_raw);
        let open = || {
            let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, every)?;
            set_socket_timeout(&socket, Timeout::Recv, Some(STEP))?;
            Ok::<OwnedFd, Errno>(socket)
        };
        let socket = namespace.enter(open)?;
        let socket = socket.map_err(|errno| HarnessError::io("listening on the wire")(errno.into()))?;
        let heard = Arc::<Heard>::default();
        let thread = std::thread::spawn({
            let heard = Arc::clone(&heard);
            move || heard.listen(&socket, text.as_bytes())
        });
        Ok(Self { heard, thread: Some(thread) })
    }

    /// In how many frames the text has gone by.
    pub(crate) fn open(&self) -> usize {
        self.heard.open.load(Ordering::Relaxed)
    }

    /// How many frames have gone to tunnels.
    pub(crate) fn tunnelled(&self) -> usize {
        self.heard.tunnelled.load(Ordering::Relaxed)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.heard.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed.
            let _ = thread.join();
        }
    }
}

impl Heard {
    fn listen(&self, socket: &OwnedFd, text: &[u8]) {
        // Longer than any segment that the kernel lets go by in one piece.
        let mut frame = vec![0; 1 << 17];
        while !self.stop.load(Ordering::Relaxed) {
            let Ok((length, _)) = recv(socket, &mut frame[..], RecvFlags::empty()) else { continue };
            let frame = &frame[..length];
            if frame.windows(text.len()).any(|window| window == text) {
                self.open.fetch_add(1, Ordering::Relaxed);
            }
            if tcp_port(frame) == Some(HBONE) {
                self.tunnelled.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Where the TCP segment in an Ethernet frame goes (RFC 791, RFC 8200; no extension headers).
fn tcp_port(frame: &[u8]) -> Option<u16> {
    const TCP: u8 = 6;
    let (protocol, packet) = (frame.get(12..14)?, frame.get(14..)?);
    let (inner, length) = match protocol {
        [0x08, 0x00] => (packet.get(9)?, usize::from(packet.first()? & 0xf) * 4),
        [0x86, 0xdd] => (packet.get(6)?, 40),
        _ => return None,
    };
    let port = packet.get(length + 2..length + 4)?;
    (*inner == TCP).then(|| u16::from_be_bytes([port[0], port[1]]))
}
