//! Encoding of header blocks without a dynamic table (RFC 7541 §6).
use alloc::vec::Vec;

use super::integer;
use super::table::STATIC;

/// Appends one header block that holds `fields` in their order.
///
/// A field that the static table holds in full is one index; any other is a literal, its name by index where the static
/// table has it. Nothing is indexed and nothing Huffman-coded: a CONNECT is too short to gain from it.
///
/// Each block begins with a size update to 0, for one octet: whatever limit the peer announces, and whenever, an encoder
/// that uses no table keeps it (RFC 7541 §4.2), so it need not remember one.
pub fn encode<'a>(fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>, out: &mut Vec<u8>) {
    integer::encode(0, 0x1f, 0x20, out);
    for (name, value) in fields {
        let (index, in_full) = find(name, value);
        if in_full {
            integer::encode(index, 0x7f, 0x80, out);
            continue;
        }
        integer::encode(index, 0x0f, if is_secret(name) { 0x10 } else { 0x00 }, out);
        if index == 0 {
            string(name, out);
        }
        string(value, out);
    }
}

/// The static index of a field, and whether its value matches too; 0 when not even the name does.
fn find(name: &[u8], value: &[u8]) -> (usize, bool) {
    let (mut by_name, mut left) = (0, candidates(name));
    // The lowest bit that is set, then without it.
    while left > 0 {
        let at = usize::try_from(left.trailing_zeros()).unwrap_or(usize::MAX);
        left &= left.saturating_sub(1);
        let Some(entry) = STATIC.get(at).filter(|entry| entry.0 == name) else { continue };
        let index = at.saturating_add(1);
        // An empty value in the table means that the entry is there for its name; as a field it is just as good.
        if entry.1 == value {
            return (index, true);
        }
        if by_name == 0 {
            by_name = index;
        }
    }
    (by_name, false)
}

/// For each initial, modulo 32, the entries of the static table whose names begin with it, a bit for each: most names that
/// we send are not in the table, and this says so without looking.
static BY_INITIAL: [u64; 32] = {
    let mut all = [0; 32];
    let mut at = 0;
    while at < STATIC.len() {
        all[initial(STATIC[at].0)] |= 1 << at;
        at += 1;
    }
    all
};

const fn initial(name: &[u8]) -> usize {
    match name {
        [first, ..] => (*first & 31) as usize,
        [] => 0,
    }
}

fn candidates(name: &[u8]) -> u64 {
    BY_INITIAL.get(initial(name)).copied().unwrap_or_default()
}

/// Whether no hop may ever put the field into a table (RFC 7541 §7.1.3).
fn is_secret(name: &[u8]) -> bool {
    [&b"authorization"[..], b"proxy-authorization", b"cookie", b"set-cookie"].contains(&name)
}

fn string(octets: &[u8], out: &mut Vec<u8>) {
    integer::encode(octets.len(), 0x7f, 0x00, out);
    out.extend_from_slice(octets);
}
