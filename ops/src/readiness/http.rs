//! The little HTTP/1.1 that the readiness endpoint speaks: one request head in, one response out, then close.

/// The most octets a request head may have.
pub(super) const MAX_HEAD: usize = 8 * 1024;

/// What is known about the request so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Head<'a> {
    /// The empty line has not come yet.
    Incomplete,
    /// Not HTTP/1, or longer than [`MAX_HEAD`].
    Bad,
    /// A request line and the end of its headers.
    Request { method: &'a str, path: &'a str },
}

/// Reads a request head; the query is cut from the path. Headers are skipped: no answer depends on them.
pub(super) fn parse(bytes: &[u8]) -> Head<'_> {
    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
        // Garbage is known by its first line; there is no need to wait for its end.
        let first_line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
        let whole_line = first_line.len() < bytes.len();
        let bad = bytes.len() >= MAX_HEAD
            || !bytes.first().is_none_or(u8::is_ascii_uppercase)
            || (whole_line && request_line(first_line).is_none());
        return if bad { Head::Bad } else { Head::Incomplete };
    };
    let first_line = bytes[..end].split(|b| *b == b'\n').next().unwrap_or_default();
    match request_line(first_line) {
        Some((method, path)) => Head::Request { method, path },
        None => Head::Bad,
    }
}

/// Method and path of `METHOD SP target SP HTTP/1.x`.
fn request_line(line: &[u8]) -> Option<(&str, &str)> {
    let line = std::str::from_utf8(line).ok()?;
    let mut parts = line.trim_end_matches('\r').split(' ');
    let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
    let well_formed = parts.next().is_none()
        && !method.is_empty()
        && method.bytes().all(|b| b.is_ascii_uppercase())
        && target.starts_with('/')
        && matches!(version, "HTTP/1.1" | "HTTP/1.0");
    well_formed.then(|| (method, target.split('?').next().unwrap_or(target)))
}

/// A whole response; `HEAD` never gets a body because it is answered 405 like every method but `GET`.
pub(super) fn response(status: u16, body: &str) -> Vec<u8> {
    let phrase = match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "Internal Server Error",
    };
    let allow = if status == 405 { "allow: GET\r\n" } else { "" };
    format!(
        "HTTP/1.1 {status} {phrase}\r\n{allow}content-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The answer to a request, given what is pending.
pub(super) fn answer(method: &str, path: &str, pending: &[&str]) -> Vec<u8> {
    match (method, path) {
        ("GET", super::PATH) if pending.is_empty() => response(200, "ready\n"),
        ("GET", super::PATH) => response(500, &format!("not ready, pending: {}\n", pending.join(", "))),
        (_, super::PATH) => response(405, ""),
        _ => response(404, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let whole = b"GET /healthz/ready?x=1 HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(parse(whole), Head::Request { method: "GET", path: "/healthz/ready" });
        for cut in 0..whole.len() {
            assert_eq!(parse(&whole[..cut]), Head::Incomplete, "cut at {cut}");
        }
        for bad in [
            &b"\x16\x03\x01"[..],
            b"get / HTTP/1.1\r\n\r\n",
            b"GET /\r\n",
            b"GET / HTTP/2.0\r\n\r\n",
            b"GET / HTTP/1.1 x\r\n\r\n",
            b"GET x HTTP/1.1\r\n\r\n",
            b"\r\n\r\n",
            &[b'A'; MAX_HEAD],
        ] {
            assert_eq!(parse(bad), Head::Bad, "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn answers() {
        let text = |method, path, pending: &[&str]| String::from_utf8(answer(method, path, pending)).unwrap();
        assert!(text("GET", "/healthz/ready", &[]).starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(
            text("GET", "/healthz/ready", &[])
                .ends_with("\r\ncontent-length: 6\r\nconnection: close\r\n\r\nready\n")
        );
        let waiting = text("GET", "/healthz/ready", &["proxy", "state manager"]);
        assert!(waiting.starts_with("HTTP/1.1 500 "), "{waiting}");
        assert!(waiting.ends_with("\r\n\r\nnot ready, pending: proxy, state manager\n"), "{waiting}");
        assert!(text("POST", "/healthz/ready", &[]).starts_with("HTTP/1.1 405 "));
        assert!(text("GET", "/", &[]).starts_with("HTTP/1.1 404 "));
    }
}
