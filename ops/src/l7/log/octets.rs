//! Peers' octets in log lines: whatever they are, a line stays one line, and a field one field.
use std::fmt;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Appends what is displayed.
pub(super) fn show(out: &mut Vec<u8>, what: impl fmt::Display) {
    // Writing to memory cannot fail.
    let _ = write!(out, "{what}");
}

/// Appends octets, those as `\xNN` that could end a field (blanks, quotes), a line, or an escape, or are no ASCII.
pub(super) fn field(out: &mut Vec<u8>, octets: &[u8]) {
    escaped(out, octets, |octet| octet.is_ascii_graphic() && !matches!(octet, b'"' | b'\\'));
}

/// As [`field`], for what stands between quotes alone: blanks stay.
pub(super) fn quoted(out: &mut Vec<u8>, octets: &[u8]) {
    escaped(out, octets, |octet| matches!(octet, b' '..=b'~') && !matches!(octet, b'"' | b'\\'));
}

fn escaped(out: &mut Vec<u8>, octets: &[u8], plain: fn(u8) -> bool) {
    out.reserve(octets.len());
    for octet in octets {
        if plain(*octet) {
            out.push(*octet);
        } else {
            out.extend([b'\\', b'x', DIGITS[usize::from(octet >> 4)], DIGITS[usize::from(octet & 0xf)]]);
        }
    }
}

/// Appends a JSON string, with its quotes. Octets that are no UTF-8 are written as `U+FFFD`.
pub(super) fn json(out: &mut Vec<u8>, octets: &[u8]) {
    out.push(b'"');
    for chunk in octets.utf8_chunks() {
        for octet in chunk.valid().bytes() {
            match octet {
                b'"' | b'\\' => out.extend([b'\\', octet]),
                0..0x20 | 0x7f => {
                    out.extend(b"\\u00");
                    out.extend([DIGITS[usize::from(octet >> 4)], DIGITS[usize::from(octet & 0xf)]]);
                }
                _ => out.push(octet),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

/// Appends a time as `2026-01-02T03:04:05.678Z`; 1970 for what is before that.
pub(super) fn time(out: &mut Vec<u8>, time: SystemTime) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    // A year beyond 9999 is told as the last moment there is.
    let stamp = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    show(out, format_args!("{stamp:.3}"));
}
