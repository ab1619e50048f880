//! `ADIT_MAX_CONNECTIONS`: one connection too many is closed and said so; the others do not notice.
mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use common::{Mesh, PATIENCE, RUNTIMES, echo};

fn connect(mesh: &Mesh) -> TcpStream {
    let stream = TcpStream::connect(mesh.client_entry()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Whether an octet goes round.
fn works(stream: &mut TcpStream) -> bool {
    stream.write_all(b"x").is_ok() && stream.read(&mut [0]).is_ok_and(|n| n == 1)
}

#[test]
fn one_connection_too_many_is_closed() {
    for runtime in RUNTIMES {
        let more = [("ADIT_MAX_CONNECTIONS", "2"), ("ZTUNNEL_WORKER_THREADS", "1")];
        let mut mesh = Mesh::start("limit", runtime, &more, echo);
        let mut live = [connect(&mesh), connect(&mesh)];
        assert!(live.iter_mut().all(works));
        for _ in 0..10 {
            assert!(!works(&mut connect(&mesh)));
        }
        mesh.client.line(&["connection failed", "too many connections: the limit of 2 is reached"]);
        assert!(live.iter_mut().all(works));
        // The end of one makes room for another.
        let [mut ends, _stays] = live;
        ends.shutdown(Shutdown::Write).unwrap();
        assert_eq!(ends.read(&mut [0]).unwrap(), 0);
        let deadline = Instant::now() + PATIENCE;
        while !works(&mut connect(&mesh)) {
            assert!(Instant::now() < deadline, "there is still no room");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
