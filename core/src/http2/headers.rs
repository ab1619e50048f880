//! Validation of header lists (RFC 9113 §8.2, §8.3): what passes can be trusted by everything above.
use alloc::vec::Vec;

use super::Field;

/// A malformed message (RFC 9113 §8.1.1): a stream error of type PROTOCOL_ERROR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A request that is well-formed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// `content-length`, where the method gives it a meaning.
    pub(crate) content_length: Option<u64>,
}

/// A response that is well-formed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// `content-length`, where status and request give it a meaning.
    pub(crate) content_length: Option<u64>,
}

/// Checks a request (RFC 9113 §8.3.1, §8.5).
///
/// A CONNECT without `:authority` passes: servers may answer a malformed request before they drop it, and upstream
/// answers this one with 400. Extended CONNECT (RFC 8441) is malformed: we do not announce it.
pub(crate) fn request(fields: &[Field]) -> Result<Request, Malformed> {
    let [mut method, mut scheme, mut path, mut authority] = [None; 4];
    let regular = split_pseudo(fields, |name, value| {
        let slot = match name {
            b":method" => &mut method,
            b":scheme" => &mut scheme,
            b":path" => &mut path,
            b":authority" => &mut authority,
            _ => return Err(Malformed),
        };
        set_once(slot, value)
    })?;
    let content_length = regular_fields(regular)?;
    let method = method.ok_or(Malformed)?;
    if method.is_empty() || !method.iter().copied().all(is_token) {
        return Err(Malformed);
    }
    if method == b"CONNECT" {
        if scheme.is_some() || path.is_some() {
            return Err(Malformed);
        }
        // A CONNECT has no content: what follows belongs to the tunnel (RFC 9110 §9.3.6).
        return Ok(Request { content_length: None });
    }
    let (scheme, path) = (scheme.ok_or(Malformed)?, path.ok_or(Malformed)?);
    if scheme.is_empty() || path.is_empty() {
        return Err(Malformed);
    }
    Ok(Request { content_length })
}

/// Checks a response to a CONNECT (RFC 9113 §8.3.2) and takes `:status` out of `fields`.
pub(crate) fn response(fields: &mut Vec<Field>) -> Result<Response, Malformed> {
    let mut status = None;
    let regular = split_pseudo(fields, |name, value| match name {
        b":status" => set_once(&mut status, value),
        _ => Err(Malformed),
    })?;
    let content_length = regular_fields(regular)?;
    let status = match status {
        Some(&[a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9']) => {
            [a, b, c].iter().fold(0u16, |sum, digit| {
                sum.saturating_mul(10).saturating_add(digit.saturating_sub(b'0').into())
            })
        }
        _ => return Err(Malformed),
    };
    // 101 has no meaning in HTTP/2 (RFC 9113 §8.6).
    if status == 101 {
        return Err(Malformed);
    }
    // A 2xx to CONNECT, and 1xx, 204, 304 whatever the method, are without content (RFC 9110 §9.3.6, §6.4.1).
    let counts = !matches!(status, 100..=299 | 304);
    fields.retain(|field| !field.name.starts_with(b":"));
    Ok(Response { status, content_length: content_length.filter(|_| counts) })
}

/// Checks trailers: no pseudo-headers (RFC 9113 §8.1).
pub(crate) fn trailers(fields: &[Field]) -> Result<(), Malformed> {
    regular_fields(fields).map(|_| ())
}

/// Gives the leading pseudo-headers to `each`; returns the rest.
fn split_pseudo<'f>(
    fields: &'f [Field],
    mut each: impl FnMut(&'f [u8], &'f [u8]) -> Result<(), Malformed>,
) -> Result<&'f [Field], Malformed> {
    let end = fields.iter().position(|field| !field.name.starts_with(b":")).unwrap_or(fields.len());
    let (pseudo, regular) = fields.split_at_checked(end).ok_or(Malformed)?;
    for field in pseudo {
        if !is_value(&field.value) {
            return Err(Malformed);
        }
        each(&field.name, &field.value)?;
    }
    Ok(regular)
}

fn set_once<'f>(slot: &mut Option<&'f [u8]>, value: &'f [u8]) -> Result<(), Malformed> {
    if slot.replace(value).is_some() { Err(Malformed) } else { Ok(()) }
}

/// Checks fields that are not pseudo-headers; returns `content-length`.
fn regular_fields(fields: &[Field]) -> Result<Option<u64>, Malformed> {
    let mut content_length = None;
    for Field { name, value } in fields {
        // Upper case, an empty name and a late pseudo-header all fail here (RFC 9113 §8.2.1).
        if name.is_empty() || !are_all(name, |octet| is_token(octet) && !octet.is_ascii_uppercase()) {
            return Err(Malformed);
        }
        if !is_value(value) {
            return Err(Malformed);
        }
        match &**name {
            // RFC 9113 §8.2.2.
            b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding" | b"upgrade" => {
                return Err(Malformed);
            }
            b"te" if &**value != b"trailers" => return Err(Malformed),
            b"content-length" => {
                let length = decimal(value).ok_or(Malformed)?;
                if content_length.replace(length).is_some_and(|other| other != length) {
                    return Err(Malformed);
                }
            }
            _ => {}
        }
    }
    Ok(content_length)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |sum, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        sum.checked_mul(10)?.checked_add(digit.into())
    })
}

/// A token character (RFC 9110 §5.6.2).
pub(crate) fn is_token(octet: u8) -> bool {
    #[expect(clippy::indexing_slicing, reason = "made by the compiler, which would stop")]
    const TOKENS: [bool; 256] = {
        let (mut all, mut octet) = ([false; 256], 0_u8);
        while octet < 128 {
            all[octet as usize] = octet.is_ascii_alphanumeric();
            octet += 1;
        }
        let (marks, mut at) = (b"!#$%&'*+-.^_`|~", 0);
        while at < marks.len() {
            all[marks[at] as usize] = true;
            at += 1;
        }
        all
    };
    TOKENS.get(usize::from(octet)).copied().unwrap_or_default()
}

/// A value without control characters and without white space at its ends (RFC 9113 §8.2.1, RFC 9110 §5.5).
fn is_value(value: &[u8]) -> bool {
    let blank = |octet: Option<&u8>| matches!(octet, Some(b' ' | b'\t'));
    !blank(value.first())
        && !blank(value.last())
        && are_all(value, |octet| octet == b'\t' || !octet.is_ascii_control())
}

/// Whether `good` holds for all octets. None is looked at alone, so that the compiler looks at many at once.
pub(crate) fn are_all(octets: &[u8], good: impl Fn(u8) -> bool) -> bool {
    octets.iter().fold(true, |all, &octet| all & good(octet))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(fields: &[(&str, &str)]) -> Vec<Field> {
        fields.iter().map(|(name, value)| Field::new(name.as_bytes(), value.as_bytes())).collect()
    }

    const CONNECT: [(&str, &str); 2] = [(":method", "CONNECT"), (":authority", "10.0.0.1:80")];
    const GET: [(&str, &str); 3] = [(":method", "GET"), (":scheme", "https"), (":path", "/")];

    fn request_ok(start: &[(&str, &str)], more: &[(&str, &str)]) -> bool {
        request(&list(&[start, more].concat())).is_ok()
    }

    #[test]
    fn requests() {
        // RFC 9113 §8.3, §8.3.1, §8.5 (h2spec http2/8.1.2.1, 8.1.2.3).
        assert!(request_ok(&CONNECT, &[]));
        assert!(request_ok(&GET, &[]));
        assert!(request_ok(&GET, &[(":authority", "a"), ("x", "y")]));
        assert!(request_ok(&[(":method", "CONNECT")], &[]), "answered with 400 by the tunnel");
        for (start, more) in [
            (&CONNECT[..], &[(":path", "/")][..]),
            (&CONNECT, &[(":scheme", "https")]),
            (&CONNECT, &[(":protocol", "websocket")]),
            (&CONNECT, &[(":authority", "again")]),
            (&CONNECT, &[(":status", "200")]),
            (&CONNECT, &[("x", "y"), (":authority", "late")]),
            (&GET[..2], &[]),
            (&GET[1..], &[]),
            (&[(":method", "GET"), (":path", "/")], &[]),
            (&[(":method", "GET"), (":scheme", "https"), (":path", "")], &[]),
            (&[(":method", ""), (":scheme", "https"), (":path", "/")], &[]),
            (&GET, &[(":path", "/")]),
            (&GET, &[(":method", "GET")]),
            (&GET, &[(":scheme", "https")]),
            (&GET, &[(":unknown", "x")]),
            (&[], &[]),
        ] {
            assert!(!request_ok(start, more), "{start:?} {more:?}");
        }
    }

    #[test]
    fn fields() {
        // RFC 9113 §8.2.1, §8.2.2 (h2spec http2/8.1.2, 8.1.2.2); CVE-2019-9516.
        for (name, value, legal) in [
            ("x-y", "plain", true),
            ("x", "", true),
            ("x", "tab\tinside", true),
            ("x", "h\u{e9}", true),
            ("te", "trailers", true),
            ("te", "gzip", false),
            ("te", "trailers, deflate", false),
            ("", "empty name", false),
            ("Upper", "x", false),
            ("sp ace", "x", false),
            ("n\u{e9}", "x", false),
            ("colon:inside", "x", false),
            ("x", " leading", false),
            ("x", "trailing\t", false),
            ("x", "nul\0", false),
            ("x", "cr\rlf", false),
            ("x", "lf\nlf", false),
            ("x", "del\u{7f}", false),
            ("connection", "close", false),
            ("proxy-connection", "x", false),
            ("keep-alive", "x", false),
            ("transfer-encoding", "chunked", false),
            ("upgrade", "h2c", false),
            ("content-length", "12", true),
            ("content-length", "", false),
            ("content-length", "-1", false),
            ("content-length", "1,2", false),
            ("content-length", "99999999999999999999", false),
        ] {
            assert_eq!(request_ok(&CONNECT, &[(name, value)]), legal, "{name}: {value:?}");
            assert_eq!(trailers(&list(&[(name, value)])).is_ok(), legal, "{name}: {value:?}");
        }
        assert!(!request_ok(&[(":method", "CONNECT"), (":authority", "a\r\nb")], &[]));
    }

    #[test]
    fn content_length_counts_where_it_has_a_meaning() {
        // RFC 9113 §8.1.1; RFC 9110 §6.4.1, §9.3.6.
        let length = |fields: &[(&str, &str)]| request(&list(fields)).map(|request| request.content_length);
        assert_eq!(length(&[&GET[..], &[("content-length", "7")]].concat()), Ok(Some(7)));
        assert_eq!(length(&[&CONNECT[..], &[("content-length", "7")]].concat()), Ok(None));
        let twice = [("content-length", "7"), ("content-length", "7")];
        assert_eq!(length(&[&GET[..], &twice].concat()), Ok(Some(7)));
        let differ = [("content-length", "7"), ("content-length", "8")];
        assert_eq!(length(&[&GET[..], &differ].concat()), Err(Malformed));
        for (status, counts) in [("200", false), ("204", false), ("304", false), ("503", true), ("404", true)]
        {
            let mut fields = list(&[(":status", status), ("content-length", "3")]);
            assert_eq!(response(&mut fields).unwrap().content_length, counts.then_some(3), "{status}");
        }
    }

    #[test]
    fn responses() {
        // RFC 9113 §8.3.2, §8.6.
        let mut fields = list(&[(":status", "200"), ("baggage", "k=v")]);
        assert_eq!(response(&mut fields), Ok(Response { status: 200, content_length: None }));
        assert_eq!(fields, list(&[("baggage", "k=v")]));
        for bad in [
            &[][..],
            &[(":status", "")],
            &[(":status", "20")],
            &[(":status", "2000")],
            &[(":status", "099")],
            &[(":status", "2x0")],
            &[(":status", "101")],
            &[(":status", "200"), (":status", "200")],
            &[(":status", "200"), (":method", "GET")],
            &[("x", "y"), (":status", "200")],
        ] {
            assert_eq!(response(&mut list(bad)), Err(Malformed), "{bad:?}");
        }
    }

    #[test]
    fn trailers_have_no_pseudo_headers() {
        // RFC 9113 §8.1 (h2spec http2/8.1.2.1).
        assert_eq!(trailers(&list(&[(":method", "GET")])), Err(Malformed));
        assert_eq!(trailers(&list(&[("grpc-status", "0")])), Ok(()));
    }
}
