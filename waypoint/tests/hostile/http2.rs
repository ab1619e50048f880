//! Floods within a client's HTTP/2 (security.md §1), frame by frame: the connection ends, or costs nothing; others are served.
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::rig::{Client, PATIENCE, Rig, echo};

static RIG: LazyLock<Rig> = LazyLock::new(|| Rig::new(&echo(), super::heads::SERVICES));

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `:scheme: http`, `:authority: echo`, `:path`, and the method: 2 is GET, 3 is POST (RFC 7541, appendix A).
fn block(method: u8, path: &str) -> Vec<u8> {
    let path = [&[0x04, u8::try_from(path.len()).unwrap()], path.as_bytes()].concat();
    [&[0x80 | method, 0x86][..], &path, b"\x01\x04echo"].concat()
}

/// A connection that reads whatever comes, until it ends.
struct Raw {
    client: Client,
    reader: JoinHandle<Vec<u8>>,
    ended: Arc<AtomicBool>,
}

impl Raw {
    fn open() -> Self {
        let client = Client::new(RIG.entry("echo-v1", 80));
        let mut reading = client.0.get_ref().try_clone().unwrap();
        let ended = Arc::<AtomicBool>::default();
        let at_end = Arc::clone(&ended);
        let reader = std::thread::spawn(move || {
            let (mut all, mut octets) = (Vec::new(), [0; 16 << 10]);
            while let Ok(n @ 1..) = reading.read(&mut octets) {
                // Enough to find the frames in.
                if all.len() < 1 << 20 {
                    all.extend_from_slice(&octets[..n]);
                }
            }
            at_end.store(true, Ordering::SeqCst);
            all
        });
        let mut this = Self { client, reader, ended };
        assert!(this.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
        assert!(this.send(&frame(SETTINGS, 0, 0, &[])));
        this
    }

    /// False: the other side has ended it.
    fn send(&mut self, octets: &[u8]) -> bool {
        !self.ended.load(Ordering::SeqCst) && self.client.0.get_mut().write_all(octets).is_ok()
    }

    /// Sends what `next` makes of a number, until the other side has had enough of it; it has had as many as it was sent.
    fn until_ended(&mut self, next: impl Fn(u32) -> Vec<u8>) {
        let deadline = std::time::Instant::now() + PATIENCE;
        for number in 0.. {
            if !self.send(&next(number)) {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "nobody minds, after {number} times");
        }
    }

    /// Kinds of the frames that came, and the error of GOAWAY if one did.
    fn frames(self) -> (Vec<u8>, Option<u32>) {
        let _ = self.client.0.get_ref().shutdown(std::net::Shutdown::Both);
        let octets = self.reader.join().unwrap();
        let (mut kinds, mut goaway, mut at) = (Vec::new(), None, 0);
        while let Some(head) = octets.get(at..at + 9) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            kinds.push(head[3]);
            if head[3] == 7
                && let Some(code) = octets.get(at + 13..at + 17)
            {
                let code = u32::from_be_bytes(code.try_into().unwrap());
                // The last word counts: one in good order may come first.
                goaway = Some(code);
            }
            at += 9 + length;
        }
        (kinds, goaway)
    }
}

/// Another client notices nothing.
fn others_are_served() {
    for _ in 0..5 {
        assert_eq!(RIG.get("echo-v1", "/other", &[]).status, 200);
    }
}

fn odd_stream(number: u32) -> u32 {
    1 + 2 * number
}

#[test]
fn rapid_resets_end_the_connection() {
    let mut raw = Raw::open();
    raw.until_ended(|burst| {
        let one = |number| {
            let stream = odd_stream(burst * 100 + number);
            let opened = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(2, "/rapid"));
            [opened, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
        };
        (0..100).flat_map(one).collect()
    });
    others_are_served();
    let (_, goaway) = raw.frames();
    // ENHANCE_YOUR_CALM, unless a reset of the connection was quicker.
    assert!(matches!(goaway, Some(11) | None), "{goaway:?}");
}

/// Resets that a client makes us send (CVE-2025-8671).
#[test]
fn provoked_resets_end_the_connection() {
    let mut raw = Raw::open();
    raw.until_ended(|burst| {
        let one = |number| {
            let stream = odd_stream(burst * 100 + number);
            let opened = frame(HEADERS, END_HEADERS, stream, &block(3, "/provoked"));
            [opened, frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
        };
        (0..100).flat_map(one).collect()
    });
    others_are_served();
    let _ = raw.frames();
}

#[test]
fn continuations_without_end_end_the_connection() {
    for piece in [1, 1000] {
        let mut raw = Raw::open();
        raw.send(&frame(HEADERS, 0, 1, &block(2, "/continued")));
        // A literal without index, of a name that goes on and on; then fields of which each is small.
        let payload = [0, 1, b'x', 1, b'y'].repeat(piece);
        raw.until_ended(|_| frame(CONTINUATION, 0, 1, &payload).repeat(20));
        others_are_served();
        let _ = raw.frames();
    }
    assert!(RIG.seen("v1", "/continued").is_empty());
}

/// A little block that stands for a list of sixteen megabytes, and one that is as large as it looks.
#[test]
fn header_lists_that_are_too_large_are_refused() {
    let value = [b'v'; 4000];
    // With incremental indexing: entry 62 from then on. The length has two octets (RFC 7541 §5.1).
    let entry = [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &value].concat();
    let bomb = [&block(2, "/bomb")[..], &entry, &[0xbe; 4000]].concat();
    let field = |number: u32| {
        [&[0, 6][..], format!("x-{number:04}").as_bytes(), &[0x7f, 0xa1, 0x1e], &value].concat()
    };
    let plain = [block(2, "/plain"), (0..20).flat_map(field).collect()].concat();
    // Crumbs of cookies, each of them small (CVE-2026-47774).
    let crumbs = [&block(2, "/crumbs")[..], &[0x40, 6], b"cookie", &[3], b"a=b", &[0xbe; 12_000]].concat();
    for block in [bomb, plain, crumbs] {
        let mut raw = Raw::open();
        let mut pieces = block.chunks(16_000).peekable();
        let mut kind = HEADERS;
        while let Some(piece) = pieces.next() {
            let end = if pieces.peek().is_none() { END_HEADERS } else { 0 };
            let end = if kind == HEADERS { end | END_STREAM } else { end };
            raw.send(&frame(kind, end, 1, piece));
            kind = CONTINUATION;
        }
        // What follows on the connection tells that it was dealt with.
        raw.send(&frame(PING, 0, 0, b"answered"));
        super::rig::soon(|| {
            raw.ended.load(Ordering::SeqCst) || RIG.get("echo-v1", "/meanwhile", &[]).status == 200
        });
        let _ = raw.frames();
    }
    for path in ["/bomb", "/plain", "/crumbs"] {
        assert!(RIG.seen("v1", path).is_empty(), "{path}");
    }
}

/// Frames that say nothing and cost something; fifty thousand of each.
#[test]
fn frames_that_say_nothing_cost_others_nothing() {
    let open = |stream| frame(HEADERS, END_HEADERS, stream, &block(3, "/nothing"));
    for (name, opened, one) in [
        ("data", open(1), frame(DATA, 0, 1, &[])),
        ("settings", Vec::new(), frame(SETTINGS, 0, 0, &[])),
        ("pings", Vec::new(), frame(PING, 0, 0, b"pingping")),
        ("windows", open(1), frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes())),
        ("priorities", Vec::new(), frame(2, 0, 1, &[0, 0, 0, 0, 1])),
        ("unknown", Vec::new(), frame(77, 0, 0, b"unknown")),
    ] {
        let mut raw = Raw::open();
        raw.send(&opened);
        let many = one.repeat(500);
        for turn in 0..100 {
            if !raw.send(&many) {
                break;
            }
            if turn % 20 == 0 {
                assert_eq!(RIG.get("echo-v1", "/beside", &[]).status, 200, "{name}");
            }
        }
        others_are_served();
        let _ = raw.frames();
    }
}
