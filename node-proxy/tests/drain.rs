//! SIGTERM on the client's side in the middle of transfers, which came in by `ADIT_ENTRY`: they finish, or end with the
//! grace; the process succeeds in either case. The other proxy is left alone.
mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::time::{Duration, Instant};

use common::{Mesh, PATIENCE, RUNTIMES, echo, pattern};
use rustix::process::Signal;

/// Octets of each transfer.
const LENGTH: usize = 2_000_000;
/// How many of them have gone round before the signal.
const BEFORE: usize = LENGTH / 2;
/// How many are on their way when it comes.
const AHEAD: usize = 100_000;

/// A transfer of which half has gone round.
struct Transfer {
    stream: TcpStream,
    octets: Vec<u8>,
}

impl Transfer {
    fn begin(mesh: &Mesh, seed: u64) -> Self {
        let stream = TcpStream::connect(mesh.client_entry()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut this = Self { stream, octets: pattern(LENGTH, seed) };
        this.go_round(0..BEFORE, 0..BEFORE).unwrap();
        this
    }

    /// Sends a part of the octets on one thread while another reads back what is due.
    fn go_round(&mut self, send: Range<usize>, due: Range<usize>) -> std::io::Result<()> {
        let mut received = vec![0; due.len()];
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| (&self.stream).write_all(&self.octets[send]));
            (&self.stream).read_exact(&mut received)?;
            writing.join().unwrap()
        })?;
        assert!(received == self.octets[due], "octets differ");
        Ok(())
    }

    /// Sends some octets and does not wait for them.
    fn send_ahead(&mut self) {
        self.stream.write_all(&self.octets[BEFORE..BEFORE + AHEAD]).unwrap();
    }

    fn finish(mut self) {
        self.go_round(BEFORE + AHEAD..LENGTH, BEFORE..LENGTH).unwrap();
        self.stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(self.stream.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn live_transfers_finish_and_the_process_succeeds() {
    for runtime in RUNTIMES {
        let more = [("CONNECTION_TERMINATION_DEADLINE", "30s"), ("ZTUNNEL_WORKER_THREADS", "2")];
        let mut mesh = Mesh::start("term", runtime, &more, echo);
        let mut transfers: Vec<_> = (1..=4).map(|seed| Transfer::begin(&mesh, seed)).collect();
        transfers.iter_mut().for_each(Transfer::send_ahead);
        mesh.client.signal(Signal::TERM);
        mesh.client.line(&["draining", "SIGTERM"]);
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(mesh.client_entry()).is_ok() {
            assert!(Instant::now() < deadline, "the entry still listens");
            std::thread::sleep(Duration::from_millis(5));
        }
        let began = Instant::now();
        for transfer in transfers {
            assert!(mesh.client.is_running());
            transfer.finish();
        }
        let status = mesh.client.end();
        assert_eq!(status.code(), Some(0), "{}", mesh.client.output());
        assert!(began.elapsed() < Duration::from_secs(30), "it waited for the whole grace");
        let output = mesh.client.output();
        let whole = |line: &&str| {
            line.contains("connection complete") && line.contains(&format!("bytes_recv={LENGTH}"))
        };
        assert_eq!(output.lines().filter(whole).count(), 4, "{output}");
        assert!(!output.contains("connection drain"), "{output}");
        assert!(mesh.server.is_running());
    }
}

#[test]
fn transfers_end_with_the_grace_and_the_process_still_succeeds() {
    for runtime in RUNTIMES {
        let mut mesh = Mesh::start("grace", runtime, &[("CONNECTION_TERMINATION_DEADLINE", "300ms")], echo);
        let mut transfers: Vec<_> = (1..=4).map(|seed| Transfer::begin(&mesh, seed)).collect();
        mesh.client.signal(Signal::TERM);
        let began = Instant::now();
        // They go on until they are cut; never is an end mistaken for a whole answer.
        for transfer in &mut transfers {
            while transfer.go_round(0..1000, 0..1000).is_ok() {
                assert!(began.elapsed() < PATIENCE, "the grace does not end");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        assert!(began.elapsed() >= Duration::from_millis(290), "cut before the grace was over");
        assert_eq!(mesh.client.end().code(), Some(0), "{}", mesh.client.output());
        let output = mesh.client.output();
        assert_eq!(output.matches("connection closed due to connection drain").count(), 4, "{output}");
        assert!(mesh.server.is_running());
    }
}
