//! Bodies over streams that are no sockets.
use std::future::{Future, poll_fn};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use super::rig::{Host, Rig};
use super::sockets::pattern;
use crate::stream::{LocalListeners, TunnelStream};

/// Runs a future on this thread: the bodies themselves need no runtime.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

fn write_all(stream: &TunnelStream, mut octets: &[u8]) {
    while !octets.is_empty() {
        let n = block_on(poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(octets)]))).expect("it is open");
        octets = &octets[n..];
    }
}

fn read_to_end(stream: &TunnelStream) -> std::io::Result<Vec<u8>> {
    let (mut octets, mut buffer) = (Vec::new(), vec![0; 10_000]);
    loop {
        match block_on(poll_fn(|cx| stream.poll_read(cx, &mut buffer)))? {
            0 => return Ok(octets),
            n => octets.extend_from_slice(&buffer[..n]),
        }
    }
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 80))
}

/// A stream of this process reaches a server as a captured connection would.
pub fn a_stream_connects_out(host: &impl Host) {
    let rig = Rig::start(*host, |relay| relay);
    let stream = rig.handle.connect(anywhere(), anywhere()).expect("the shard runs");
    let (server, _) = rig.server.accept().expect("the relay dials");
    thread::scope(|scope| {
        scope.spawn(|| {
            write_all(&stream, &pattern(3, 2_000_000));
            stream.shutdown();
        });
        let mut octets = Vec::new();
        (&server).read_to_end(&mut octets).expect("it ends well");
        assert!(octets == pattern(3, 2_000_000));
        (&server).write_all(b"answer").expect("it leaves");
        server.shutdown(Shutdown::Write).expect("half-closed");
    });
    assert_eq!(read_to_end(&stream).expect("it ends well"), b"answer");
}

/// A dial of an address that this process answers becomes a stream, without a socket.
pub fn a_stream_is_accepted(host: &impl Host) {
    let listeners = LocalListeners::default();
    let mut incoming = listeners.listen(anywhere()).expect("nobody has it");
    let server = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let rig = Rig::start_to(*host, server, anywhere(), listeners, |relay| relay);
    let mut client = rig.client();
    let stream = block_on(incoming.accept());
    assert_eq!(stream.local_addr(), anywhere());
    thread::scope(|scope| {
        scope.spawn(|| assert!(read_to_end(&stream).expect("it ends well") == pattern(4, 2_000_000)));
        client.write_all(&pattern(4, 2_000_000)).expect("all octets leave");
        client.shutdown(Shutdown::Write).expect("half-closed");
    });
    write_all(&stream, b"answer");
    drop(stream);
    let mut octets = Vec::new();
    client.read_to_end(&mut octets).expect("it ends well");
    assert_eq!(octets, b"answer");
}

/// From a stream, through the shard, to a stream: ends and resets arrive as such.
pub fn streams_carry_half_close_and_reset(host: &impl Host) {
    let listeners = LocalListeners::default();
    let mut incoming = listeners.listen(anywhere()).expect("nobody has it");
    let server = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let rig = Rig::start_to(*host, server, anywhere(), listeners, |relay| relay);

    let near = rig.handle.connect(anywhere(), anywhere()).expect("the shard runs");
    write_all(&near, b"question");
    near.shutdown();
    let far = block_on(incoming.accept());
    assert_eq!(read_to_end(&far).expect("it ends well"), b"question");
    write_all(&far, b"answer");
    far.shutdown();
    assert_eq!(read_to_end(&near).expect("it ends well"), b"answer");

    let near = rig.handle.connect(anywhere(), anywhere()).expect("the shard runs");
    let far = block_on(incoming.accept());
    far.reset();
    assert_eq!(read_to_end(&near).expect_err("it was reset").kind(), ErrorKind::ConnectionReset);
}

/// A shard that refuses a connection resets the stream.
pub fn a_refused_stream_is_reset(host: &impl Host) {
    let rig = Rig::start(*host, super::Relay::refusing);
    let stream = rig.handle.connect(anywhere(), anywhere()).expect("the shard runs");
    assert_eq!(read_to_end(&stream).expect_err("it was refused").kind(), ErrorKind::ConnectionReset);
}
