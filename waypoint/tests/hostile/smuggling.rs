//! Requests whose end two parsers may see at different places (RFC 9112 §11.2), and headers that hide others.
use std::sync::LazyLock;

use super::rig::{Client, Rig, echo};

static RIG: LazyLock<Rig> = LazyLock::new(|| Rig::new(&echo(), super::heads::SERVICES));

/// Sends `octets`, in one piece or octet by octet, then a request that follows them; gives the statuses that came.
fn statuses(octets: &[u8], slowly: bool) -> Vec<u16> {
    let mut client = Client::new(RIG.entry("echo-v1", 80));
    if slowly {
        for octet in octets {
            // The rest may be of no interest any more.
            if std::io::Write::write_all(client.0.get_mut(), &[*octet]).is_err() {
                break;
            }
        }
    } else {
        client.send(octets);
    }
    // Whoever ends its side at once waits for no answer.
    let mut statuses: Vec<_> = client.try_read(false).into_iter().map(|reply| reply.status).collect();
    let _ = client.0.get_ref().shutdown(std::net::Shutdown::Write);
    while let Ok(reply) = client.try_read(false) {
        statuses.push(reply.status);
    }
    statuses
}

/// Everything that v1 has seen whose target says so.
fn seen(mark: &str) -> Vec<String> {
    let seen = RIG.world.app("v1").unwrap().seen();
    seen.into_iter().filter(|seen| seen.target.contains(mark)).map(|seen| seen.target).collect()
}

/// What is refused: name, and what follows `POST /name… HTTP/1.1`. Each hides a request for `/smuggled-name`.
const REFUSED: &[(&str, &str)] = &[
    (
        "cl-te",
        "\r\nhost: a\r\ncontent-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n",
    ),
    (
        "te-cl",
        "\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n1e\r\nGET /SMUGGLED HTTP/1.1\r\nx: y\r\n0\r\n\r\n",
    ),
    (
        "te-cl-case",
        "\r\nhost: a\r\nTRANSFER-ENCODING: cHuNkEd\r\nCoNtEnT-lEnGtH: 4\r\n\r\n1e\r\nGET /SMUGGLED HTTP/1.1\r\nx: y\r\n0\r\n\r\n",
    ),
    (
        "cl-cl-other",
        "\r\nhost: a\r\ncontent-length: 0\r\ncontent-length: 40\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n",
    ),
    (
        "cl-cl-same",
        "\r\nhost: a\r\ncontent-length: 0\r\ncontent-length: 0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n",
    ),
    ("cl-list", "\r\nhost: a\r\ncontent-length: 0, 0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("cl-plus", "\r\nhost: a\r\ncontent-length: +0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("cl-minus", "\r\nhost: a\r\ncontent-length: -1\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    (
        "cl-huge",
        "\r\nhost: a\r\ncontent-length: 18446744073709551616\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n",
    ),
    ("cl-hex", "\r\nhost: a\r\ncontent-length: 0x0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    (
        "te-te",
        "\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n",
    ),
    (
        "te-twice",
        "\r\nhost: a\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n",
    ),
    (
        "te-gzip",
        "\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n",
    ),
    (
        "te-odd",
        "\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n",
    ),
    (
        "te-tab",
        "\r\nhost: a\r\ntransfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n",
    ),
    (
        "te-colon",
        "\r\nhost: a\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n",
    ),
    (
        "te-fold",
        "\r\nhost: a\r\nx: y\r\n transfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n",
    ),
    (
        "te-folded",
        "\r\nhost: a\r\ntransfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n",
    ),
    ("first-fold", "\r\n x: y\r\nhost: a\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("bare-lf", "\r\nhost: a\nx: y\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("bare-lf-end", "\r\nhost: a\r\n\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("bare-lf-line", "\nhost: a\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("bare-cr", "\r\nhost: a\rx: y\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    (
        "bare-cr-value",
        "\r\nhost: a\r\nx: y\rcontent-length: 5\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n",
    ),
    ("nul-value", "\r\nhost: a\r\nx: y\0z\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("nul-name", "\r\nhost: a\r\nx\0: y\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("space-colon", "\r\nhost : a\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("no-colon", "\r\nhost: a\r\nnonsense\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("no-name", "\r\nhost: a\r\n: y\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("two-hosts", "\r\nhost: a\r\nhost: b\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("no-host", "\r\nx: y\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("odd-host", "\r\nhost: a@b\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
];

/// Framing that turns out wrong within the body, when its head has been taken: the request breaks off, and nothing follows it.
const BROKEN: &[(&str, &str)] = &[
    ("chunk-lf", "5\nhello\r\n0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("chunk-0x", "0x5\r\nhello\r\n0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("chunk-minus", "-1\r\nhello\r\n0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("chunk-plus", "+5\r\nhello\r\n0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("chunk-overflow", "10000000000000005\r\nhello\r\n0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("chunk-short", "4\r\nhello\r\n0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("chunk-empty", "\r\nhello\r\n0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("chunk-ext-lf", "5;a=b\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n0\r\n\r\n"),
    ("chunk-space", "5 \r\nhello\r\n0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("chunk-nothing", "zz\r\nGET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
];

#[test]
fn heads_that_are_ambiguous_are_refused_and_end_the_connection() {
    for slowly in [false, true] {
        for (name, rest) in REFUSED {
            let mark = format!("{name}-{slowly}");
            let octets =
                format!("POST /{mark} HTTP/1.1{rest}").replace("SMUGGLED", &format!("smuggled-{mark}"));
            assert_eq!(statuses(octets.as_bytes(), slowly), [400], "{name}");
            assert_eq!(seen(&mark), [""; 0], "{name}");
        }
    }
}

#[test]
fn bodies_that_are_ambiguous_break_off_and_end_the_connection() {
    for slowly in [false, true] {
        for (name, body) in BROKEN {
            let mark = format!("{name}-{slowly}");
            let octets =
                format!("POST /{mark} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{body}");
            let octets = octets.replace("SMUGGLED", &format!("smuggled-{mark}"));
            let statuses = statuses(octets.as_bytes(), slowly);
            assert!(
                statuses.len() <= 1 && statuses.iter().all(|status| *status >= 400),
                "{name}: {statuses:?}"
            );
            assert!(seen(&format!("smuggled-{mark}")).is_empty(), "{name}");
        }
    }
}

/// What looks odd and is well-formed goes through as one request, whose octets are ours.
#[test]
fn what_is_well_formed_is_one_request() {
    for (name, rest, body) in [
        (
            "inner",
            "content-length: 46\r\n\r\nGET /smuggled-inner HTTP/1.1\r\nhost: smuggled\r\n\r\n",
            "GET /smuggled-inner HTTP/1.1\r\nhost: smuggled\r\n\r\n",
        ),
        ("extension", "transfer-encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0\r\n\r\n", "hello"),
        ("zeros", "transfer-encoding: chunked\r\n\r\n005\r\nhello\r\n000\r\n\r\n", "hello"),
        (
            "te-named",
            "connection: transfer-encoding, close\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            "hi",
        ),
        ("cl-named", "connection: content-length, close\r\ncontent-length: 2\r\n\r\nhi", "hi"),
    ] {
        let length = format!("content-length: {}\r\n", body.len());
        let rest =
            if name == "inner" { rest.replace("content-length: 46\r\n", &length) } else { rest.to_owned() };
        assert_eq!(
            statuses(format!("POST /{name} HTTP/1.1\r\nhost: a\r\n{rest}").as_bytes(), false),
            [200],
            "{name}"
        );
        let seen: Vec<_> = RIG.seen("v1", &format!("/{name}"));
        assert_eq!(seen.len(), 1, "{name}");
        assert_eq!(String::from_utf8_lossy(&seen[0].body), body, "{name}");
    }
    assert!(seen("/smuggled").is_empty());
}

/// Values of headers that would be new headers, or requests, to a careless writer.
#[test]
fn nothing_is_injected_from_http2_into_http1() {
    // h2 takes no such octets from a program; what it takes is visible ASCII and tabs, which stay within the value.
    let headers = [("x-a", "b, c: d"), ("x-e", "\t f")];
    let replies = super::rig::h2c::ask(
        RIG.entry("echo-v1", 80),
        vec![super::rig::h2c::request("GET", "/injected", &headers)],
        b"",
        None,
    );
    assert_eq!(replies[0].status, 200);
    assert_eq!(replies[0].saw("x-a").as_deref(), Some("b, c: d"));
}
