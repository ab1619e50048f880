//! Where HTTP/1.1 requests begin and end, and what of them RFC 9112 refuses although parsers let it pass.
//!
//! A [`Scanner`] stands before a parser and changes nothing. What it takes is framed in one way only: request lines of three
//! parts (§3), fields of a name, a colon and visible text (§5), each line with CRLF (§2.2), at most one length, which is a plain
//! number, or else the one encoding `chunked` (§6), sizes of chunks in hexadecimal digits and nothing else (§7.1). Refused are
//! folded fields, blanks before a colon, CR or LF by itself, and NUL and its like anywhere but in a body. What methods, targets
//! and fields mean, and how many there may be, is the parser's to judge.
use smallvec::SmallVec;

use crate::http2::is_token;

/// The longest value of a field that bears on framing, in octets: none that counts is longer.
const LONGEST_VALUE: usize = 100;
/// As long as the longest name that bears on framing, and one more.
const LONGEST_NAME: usize = 18;
/// More digits than a chunk that somebody means has (§7.1 asks for a bound).
const SIZE_DIGITS: u8 = 15;
/// The version up to its last digit, which is 0 or 1.
const VERSION: &[u8] = b"HTTP/1.";

/// Where in its messages a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Nothing of a next request has come.
    Between,
    /// In a request line or a field, or in an empty line before.
    Head,
    /// Octets of a body come next.
    Body,
    /// Around chunks of a body, or in trailers.
    Framing,
}

/// What is not as RFC 9112 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Part {
    /// A request's head. No parser has taken it for whole yet.
    #[error("a request's head is not well-formed")]
    Head,
    /// A body, or its trailers: its request has been taken.
    #[error("a request's body is not framed as RFC 9112 has it")]
    Body,
}

/// An octet that cannot stand where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{part}, after {good} more octets")]
pub struct Malformed {
    /// How many octets before it are well-formed, of those that were scanned last.
    pub good: usize,
    /// Where it stands.
    pub part: Part,
}

/// What is expected next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// A request, or an empty line before it (§2.2).
    Start,
    StartLf,
    Method,
    Target {
        empty: bool,
    },
    /// So many octets of it have come.
    Version(u8),
    /// The end of the request line.
    VersionCr,
    /// The end of a line with something in it.
    Lf,
    /// A field, or the empty line after the last.
    Line,
    Name,
    Value,
    /// The end of the empty line.
    LastLf,
    /// So many octets of a body are to come.
    Body(u64),
    /// Of the digits of a chunk's size, so many have come.
    Size {
        size: u64,
        digits: u8,
    },
    /// After a chunk's size.
    Extension(u64),
    SizeLf(u64),
    Chunk(u64),
    ChunkCr,
    ChunkLf,
}

/// Whether a field bears on framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Other,
    Length,
    Encoding,
}

/// Follows the requests of a client, in whatever pieces they come. It holds a bounded number of octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanner {
    at: At,
    /// The beginning of a name, or of a value that counts.
    kept: SmallVec<[u8; 32]>,
    field: Field,
    length: Option<u64>,
    chunked: bool,
    trailers: bool,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// Before the first request.
    #[must_use]
    pub fn new() -> Self {
        Self {
            at: At::Start,
            kept: SmallVec::new(),
            field: Field::Other,
            length: None,
            chunked: false,
            trailers: false,
        }
    }

    /// Where the client is after all that was scanned.
    #[must_use]
    pub const fn place(&self) -> Place {
        match self.at {
            At::Start => Place::Between,
            At::Body(_) | At::Chunk(_) => Place::Body,
            At::Size { .. } | At::Extension(_) | At::SizeLf(_) | At::ChunkCr | At::ChunkLf => Place::Framing,
            At::StartLf
            | At::Method
            | At::Target { .. }
            | At::Version(_)
            | At::VersionCr
            | At::Lf
            | At::Line
            | At::Name
            | At::Value
            | At::LastLf => {
                if self.trailers {
                    Place::Framing
                } else {
                    Place::Head
                }
            }
        }
    }

    /// Looks at what has come next.
    ///
    /// # Errors
    /// It cannot be there: nothing more is to be read of this client. What is scanned after that means nothing.
    pub fn scan(&mut self, octets: &[u8]) -> Result<(), Malformed> {
        let mut rest = octets;
        while let Some(first) = rest.first() {
            let part = if self.place() == Place::Framing { Part::Body } else { Part::Head };
            let good = octets.len().saturating_sub(rest.len());
            let taken = self.step(*first, rest).ok_or(Malformed { good, part })?;
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// Takes one octet or more; nothing where the first cannot be there.
    fn step(&mut self, first: u8, rest: &[u8]) -> Option<usize> {
        let mut taken = 1;
        self.at = match (self.at, first) {
            (At::Start, b'\r') => At::StartLf,
            (At::StartLf, b'\n') => At::Start,
            (At::Start, _) if is_token(first) => At::Method,
            (At::Method, b' ') => At::Target { empty: true },
            (At::Method, _) => {
                taken = run(rest, is_token)?;
                At::Method
            }
            (At::Target { empty: false }, b' ') => At::Version(0),
            (At::Target { .. }, _) => {
                taken = run(rest, |octet| octet > b' ' && octet != 0x7f)?;
                At::Target { empty: false }
            }
            (At::Version(come), _) => match VERSION.get(usize::from(come)) {
                Some(octet) if *octet == first => At::Version(come.saturating_add(1)),
                None if matches!(first, b'0' | b'1') => At::VersionCr,
                _ => return None,
            },
            (At::VersionCr, b'\r') => At::Lf,
            (At::Lf, b'\n') => At::Line,
            (At::Line, b'\r') => At::LastLf,
            (At::LastLf, b'\n') => self.framed(),
            (At::Line | At::Name, _) if is_token(first) => {
                taken = run(rest, is_token)?;
                self.keep(rest, taken, LONGEST_NAME);
                At::Name
            }
            (At::Name, b':') => {
                self.named();
                At::Value
            }
            (At::Value, b'\r') => {
                self.valued()?;
                At::Lf
            }
            (At::Value, _) => {
                taken = run(rest, is_text)?;
                if self.field != Field::Other {
                    self.keep(rest, taken, LONGEST_VALUE.saturating_add(1));
                }
                At::Value
            }
            (At::Body(left) | At::Chunk(left), _) => {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                taken = here;
                self.passed(left.saturating_sub(u64::try_from(here).unwrap_or(u64::MAX)))
            }
            _ => self.around(first)?,
        };
        Some(taken)
    }

    /// Keeps the first `taken` octets of `rest`, as long as there are not `most`.
    fn keep(&mut self, rest: &[u8], taken: usize, most: usize) {
        let room = most.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(rest.get(..taken.min(room)).unwrap_or_default());
    }

    /// A field's name is there whole.
    fn named(&mut self) {
        // In trailers neither means anything (RFC 9110 §6.5.1).
        self.field = if self.trailers {
            Field::Other
        } else if self.kept.eq_ignore_ascii_case(b"content-length") {
            Field::Length
        } else if self.kept.eq_ignore_ascii_case(b"transfer-encoding") {
            Field::Encoding
        } else {
            Field::Other
        };
        self.kept.clear();
    }

    /// A field's value is there whole; nothing where it contradicts itself or another.
    fn valued(&mut self) -> Option<()> {
        let fits = self.kept.len() <= LONGEST_VALUE && self.length.is_none() && !self.chunked;
        let value = self.kept.trim_ascii();
        match core::mem::replace(&mut self.field, Field::Other) {
            Field::Other => {}
            Field::Length => self.length = Some(number(value).filter(|_| fits)?),
            Field::Encoding if fits && value.eq_ignore_ascii_case(b"chunked") => self.chunked = true,
            Field::Encoding => return None,
        }
        self.kept.clear();
        Some(())
    }

    /// A head has ended, or trailers.
    fn framed(&mut self) -> At {
        match (self.trailers, self.length, self.chunked) {
            (false, _, true) => At::Size { size: 0, digits: 0 },
            (false, Some(length @ 1..), _) => At::Body(length),
            _ => self.next(),
        }
    }

    /// Another request begins.
    const fn next(&mut self) -> At {
        (self.length, self.chunked, self.trailers) = (None, false, false);
        At::Start
    }

    /// So much is left of a body or a chunk.
    const fn passed(&mut self, left: u64) -> At {
        match (left, self.chunked) {
            (0, true) => At::ChunkCr,
            (0, false) => self.next(),
            (_, true) => At::Chunk(left),
            (_, false) => At::Body(left),
        }
    }

    /// An octet around chunks.
    fn around(&mut self, octet: u8) -> Option<At> {
        Some(match (self.at, octet) {
            (At::Size { size, digits: 1.. }, b'\r') => At::SizeLf(size),
            (At::Size { size, digits: 1.. }, b';') => At::Extension(size),
            (At::Size { size, digits }, _) if digits < SIZE_DIGITS => {
                let digit = char::from(octet).to_digit(16)?;
                let size = size.saturating_mul(16).saturating_add(u64::from(digit));
                At::Size { size, digits: digits.saturating_add(1) }
            }
            (At::Extension(size), b'\r') => At::SizeLf(size),
            (At::Extension(size), _) if is_text(octet) => At::Extension(size),
            (At::SizeLf(0), b'\n') => {
                self.trailers = true;
                At::Line
            }
            (At::SizeLf(size), b'\n') => At::Chunk(size),
            (At::ChunkCr, b'\r') => At::ChunkLf,
            (At::ChunkLf, b'\n') => At::Size { size: 0, digits: 0 },
            _ => return None,
        })
    }
}

/// How many octets come first that `is` says may; nothing where there is none.
fn run(octets: &[u8], is: impl Fn(u8) -> bool) -> Option<usize> {
    let end = octets.iter().position(|octet| !is(*octet)).unwrap_or(octets.len());
    (end > 0).then_some(end)
}

/// Of a field's value (RFC 9110 §5.5): visible, a blank, or of an encoding that nobody here knows.
const fn is_text(octet: u8) -> bool {
    octet == b'\t' || octet >= b' ' && octet != 0x7f
}

fn number(digits: &[u8]) -> Option<u64> {
    let all = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    core::str::from_utf8(digits).ok().filter(|_| all)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned as _;
    use alloc::format;
    use alloc::string::String;

    use super::*;

    /// Looks at `octets` in pieces of `piece`; on an error how many of all are well-formed.
    fn scan(octets: &str, piece: usize) -> Result<Scanner, Malformed> {
        let mut scanner = Scanner::new();
        for (number, piece_of) in octets.as_bytes().chunks(piece).enumerate() {
            let scanned = scanner.scan(piece_of);
            scanned.map_err(|wrong| Malformed { good: number * piece + wrong.good, ..wrong })?;
        }
        Ok(scanner)
    }

    #[test]
    fn what_is_well_formed_passes_in_any_pieces() {
        let long = "x".repeat(300);
        for octets in [
            "GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(2),
            "\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n\n\n\n\n\nGET / HTTP/1.1\r\n\r\n".to_owned(),
            "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=b\r\n\n\n\n\n\n\r\nA\r\n0123456789\r\n0\r\nx: y\r\n\r\nGET / HTTP/1.1\r\n\r\n"
                .to_owned(),
            format!("GET /{long} HTTP/1.1\r\nx: {long}\r\ncookie: {long}\r\n{long}: x\r\n\r\n"),
            "POST / HTTP/1.1\r\ncontent-length:\t0 \r\nx:\r\ny: \t\u{e9}\r\n\r\n".to_owned(),
            "OPTIONS * HTTP/1.0\r\n\r\n".to_owned(),
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\ncontent-length: x\r\n\r\n".to_owned(),
        ] {
            for piece in [1, 2, 3, 7, 64, octets.len()] {
                let scanner = scan(&octets, piece).unwrap();
                assert_eq!(scanner, Scanner::new(), "{octets:?} by {piece}");
            }
        }
    }

    #[test]
    fn what_is_not_is_refused_at_its_octet_in_any_pieces() {
        let padded = format!("transfer-encoding: {}chunked^\r\n", " ".repeat(100));
        let body = |size: &str| format!("transfer-encoding: chunked\r\n\r\n{size}");
        // "^" stands before the octet that cannot be there.
        let table: [(&str, Part); 34] = [
            ("content-length: 1\r\ntransfer-encoding: chunked^\r\n", Part::Head),
            ("transfer-encoding: chunked\r\ncontent-length: 1^\r\n", Part::Head),
            ("content-length: 1\r\ncontent-length: 1^\r\n", Part::Head),
            ("content-length: 1, 1^\r\n", Part::Head),
            ("content-length: +1^\r\n", Part::Head),
            ("content-length:^\r\n", Part::Head),
            ("content-length: 99999999999999999999^\r\n", Part::Head),
            ("transfer-encoding: gzip, chunked^\r\n", Part::Head),
            ("transfer-encoding: chunked, chunked^\r\n", Part::Head),
            ("transfer-encoding: chunked\r\ntransfer-encoding: chunked^\r\n", Part::Head),
            ("transfer-encoding: identity^\r\n", Part::Head),
            (&padded, Part::Head),
            ("x: y^\n", Part::Head),
            ("x: y\r^x", Part::Head),
            ("x: y^\0", Part::Head),
            ("x: y^\x7f", Part::Head),
            ("x^ : y\r\n", Part::Head),
            ("^ x: y\r\n", Part::Head),
            ("x: y\r\n^\tz\r\n", Part::Head),
            ("^: y\r\n", Part::Head),
            ("x^\r\n", Part::Head),
            ("x^\0: y\r\n", Part::Head),
            ("^\n", Part::Head),
            ("\r^\r", Part::Head),
            (&body("5^\n"), Part::Body),
            (&body("^\r\n"), Part::Body),
            (&body("0^x5\r\n"), Part::Body),
            (&body("^-5\r\n"), Part::Body),
            (&body("5^ \r\n"), Part::Body),
            (&body("5;a^\n"), Part::Body),
            (&body("100000000000000^0\r\n"), Part::Body),
            (&body("1\r\na^b\r\n"), Part::Body),
            (&body("0\r\nx: y^\n"), Part::Body),
            (&body("0\r\n^ x: y\r\n"), Part::Body),
        ];
        let lines = [
            "^ GET / HTTP/1.1\r\n",
            "GET^\t/",
            "GET ^ /",
            "GET / HTTP/^2.0\r\n",
            "GET / HTTP/1.^2",
            "GET /^\r\n",
        ];
        let heads = table.map(|(rest, part)| (format!("POST / HTTP/1.1\r\n{rest}"), part));
        for (marked, part) in heads.into_iter().chain(lines.map(|line| (line.to_owned(), Part::Head))) {
            let good = marked.find('^').unwrap();
            let octets: String = marked.replacen('^', "", 1);
            for piece in [1, 2, 3, 7, 64, octets.len()] {
                assert_eq!(scan(&octets, piece), Err(Malformed { good, part }), "{octets:?} by {piece}");
            }
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let name = format!("GET / HTTP/1.1\r\n{}", "x".repeat(100_000));
        let value = format!("GET / HTTP/1.1\r\ncontent-length: {}", "1".repeat(100_000));
        for octets in [name, value] {
            let scanner = scan(&octets, 10).unwrap();
            assert!(scanner.kept.len() <= LONGEST_VALUE + 1);
        }
    }

    #[test]
    fn one_knows_where_a_client_is() {
        let mut scanner = Scanner::new();
        for (octets, place) in [
            ("\r\n", Place::Between),
            ("\r", Place::Head),
            ("\nPOST / HTTP/1.1\r\ncontent-length: 2\r\n\r", Place::Head),
            ("\n", Place::Body),
            ("a", Place::Body),
            ("b", Place::Between),
            ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", Place::Framing),
            ("1\r\n", Place::Body),
            ("a", Place::Framing),
            ("\r\n0\r\nx: y\r\n\r", Place::Framing),
            ("\n", Place::Between),
        ] {
            scanner.scan(octets.as_bytes()).unwrap();
            assert_eq!(scanner.place(), place, "after {octets:?}");
        }
    }
}
