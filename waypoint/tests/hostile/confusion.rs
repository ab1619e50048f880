//! Requests that mean one thing to us and another to somebody behind: names of headers to be taken off, two hosts, upgrades that
//! are none, trailers that would be headers.
use std::io::{Read as _, Write as _};
use std::sync::{Arc, LazyLock, Mutex};

use super::rig::servers::server;
use super::rig::{Client, Rig, echo, h2c};

static RIG: LazyLock<Rig> = LazyLock::new(|| {
    let policy = |name: &str, action: &str, rule: &str| {
        format!(
            "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{ name: {name}, namespace: demo }}\nspec:\n  \
             targetRefs: [{{ group: \"\", kind: Service, name: {name} }}]\n  action: {action}\n  rules:\n  - {rule}\n"
        )
    };
    let deny = "to: [{ operation: { hosts: [secret.example] } }]\n  - when: [{ key: \"request.headers[x-internal]\", values: [\"*\"] }]";
    let allow = "when: [{ key: \"request.headers[x-token]\", values: [\"right\"] }]";
    let manifests =
        [super::heads::SERVICES, &policy("echo-v1", "DENY", deny), &policy("echo-v2", "ALLOW", allow)];
    Rig::new(&echo(), &manifests.concat())
});

/// What `Connection` names is taken off before anybody decides: what is judged is what is sent on.
#[test]
fn nobody_hides_a_header_from_policies_and_shows_it_to_the_backend() {
    assert_eq!(RIG.get("echo-v1", "/", &[("x-internal", "1")]).status, 403);
    let reply = RIG.get("echo-v1", "/", &[("x-internal", "1"), ("connection", "x-internal")]);
    assert_eq!((reply.status, reply.saw("x-internal")), (200, None));
    assert_eq!(RIG.get("echo-v2", "/", &[("x-token", "right")]).status, 200);
    for connection in ["x-token", "close, X-Token", "keep-alive,x-token ,x-other"] {
        let reply = RIG.get("echo-v2", "/", &[("x-token", "right"), ("connection", connection)]);
        assert_eq!(reply.status, 403, "{connection}");
    }
}

#[test]
fn nobody_takes_away_what_we_say() {
    let ours = "x-request-id, x-envoy-attempt-count, x-forwarded-proto, content-length, host, authorization";
    let said = [("connection", ours), ("authorization", "Basic YTpi"), ("x-request-id", "mine")];
    let reply = RIG.client("echo-v1", 80).ask("POST", "/ours", &said, b"body");
    assert_eq!((reply.status, reply.told()["body"].as_str()), (200, Some("body")));
    for name in ["x-request-id", "x-envoy-attempt-count", "x-forwarded-proto", "authorization"] {
        assert!(reply.saw(name).is_some(), "{name}");
    }
    // Its own was on its connection alone.
    assert_ne!(reply.saw("x-request-id").as_deref(), Some("mine"));
}

#[test]
fn an_authority_goes_before_host() {
    let ask = |authority: &str, host: &str| {
        let mut request = h2c::request("GET", "/", &[("host", host)]);
        *request.uri_mut() = format!("http://{authority}/").parse().unwrap();
        h2c::ask(RIG.entry("echo-v1", 80), vec![request], b"", None).remove(0)
    };
    let reply = ask("echo", "secret.example");
    assert_eq!((reply.status, reply.told()["host"].as_str()), (200, Some("echo")));
    assert_eq!(reply.saw("host").as_deref().unwrap_or("echo"), "echo");
    assert_eq!(ask("secret.example", "echo").status, 403);
    assert_eq!(ask("SECRET.example", "echo").status, 403);
}

/// Whoever would take the rest of a connection for HTTP/2 could be sent requests that nobody judges.
#[test]
fn h2c_is_not_upgraded_to_and_not_passed_on() {
    for connection in ["Upgrade, HTTP2-Settings", "upgrade", "HTTP2-Settings, upgrade, close"] {
        let mut client = RIG.client("echo-v1", 80);
        let said =
            [("connection", connection), ("upgrade", "h2c"), ("http2-settings", "AAMAAABkAAQAoAAAAAIAAAAA")];
        let reply = client.ask("GET", "/h2c", &said, b"");
        assert_eq!((reply.status, reply.header("upgrade")), (200, None), "{connection}");
        for name in ["upgrade", "connection"] {
            assert_eq!(reply.saw(name), None, "{connection}: {name}");
        }
        assert_eq!(reply.told()["version"], "HTTP/1.1");
        if !connection.contains("close") {
            assert_eq!(client.ask("GET", "/after", &[], b"").status, 200);
        }
    }
    // Other protocols than WebSocket neither.
    for upgrade in ["TLS/1.0", "websocket, h2c", "foo"] {
        let reply = RIG.get("echo-v1", "/", &[("connection", "upgrade"), ("upgrade", upgrade)]);
        assert_eq!((reply.status, reply.saw("upgrade")), (200, None), "{upgrade}");
    }
}

/// Reads one request's head; none if the connection ends.
fn head(stream: &mut std::net::TcpStream) -> Option<String> {
    let mut octets = Vec::new();
    while !octets.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        if stream.read(&mut octet).ok()? == 0 {
            return None;
        }
        octets.push(octet[0]);
    }
    String::from_utf8(octets).ok()
}

/// A world with one more service, `odd`, whose server answers each head with what `answer` makes of it; and what it has seen.
fn odd(last: u8, answer: impl Fn(&str) -> String + Send + Sync + 'static) -> (Rig, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let address = {
        let seen = Arc::clone(&seen);
        server(last, move |mut stream| {
            while let Some(head) = head(&mut stream) {
                let answer = answer(&head);
                seen.lock().unwrap().push(head);
                if stream.write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
        })
    };
    let mut plan = echo();
    plan.servers = vec![("odd", address, vec!["odd"])];
    let deny = "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: p, namespace: demo }\nspec:\n  \
                targetRefs: [{ group: \"\", kind: Service, name: odd }]\n  action: DENY\n  rules:\n  - to: [{ operation: { paths: [/admin] } }]\n";
    (Rig::new(&plan, &[super::heads::SERVICES, deny].concat()), seen)
}

const UPGRADE: &str = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A backend that refuses an upgrade makes no tunnel of the connection: what follows is a request like any other.
#[test]
fn an_upgrade_that_is_refused_hides_no_request() {
    let (rig, seen) = odd(50, |_| {
        "HTTP/1.1 426 Upgrade Required\r\nsec-websocket-version: 12\r\ncontent-length: 0\r\n\r\n".into()
    });
    let mut client = rig.client("odd", 80);
    client
        .send(format!("GET /ws HTTP/1.1\r\nhost: a\r\n{UPGRADE}\r\nGET /admin HTTP/1.1\r\nhost: a\r\n\r\n"));
    assert_eq!([client.read().status, client.read().status], [426, 403]);
    client.send("GET /odd HTTP/1.1\r\nhost: a\nx: y\r\n\r\n");
    assert_eq!(client.read().status, 400);
    let seen = seen.lock().unwrap();
    assert!(seen.iter().all(|head| head.starts_with("GET /ws ")), "{seen:?}");
}

/// A backend that switches protocols unasked gets no tunnel, and its client none either.
#[test]
fn a_switch_that_nobody_asked_for_is_no_answer() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n\
                  HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    let (rig, seen) = odd(51, move |_| switch.into());
    let mut client = rig.client("odd", 80);
    for _ in 0..3 {
        let reply = client.ask("GET", "/plain", &[], b"");
        assert_eq!((reply.status, reply.header("upgrade")), (502, None));
    }
    // The connection is HTTP, and as strict as before.
    client.send("GET /admin HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.read().status, 403);
    client.send("GET /odd HTTP/1.1\r\nhost: a\nx: y\r\n\r\n");
    assert_eq!(client.read().status, 400);
    assert!(seen.lock().unwrap().iter().all(|head| head.starts_with("GET /plain ")));
}

/// Two answers for one request: the second would be the next client's.
#[test]
fn an_answer_too_many_reaches_nobody() {
    let (rig, _) = odd(52, |head| {
        let path = head.split(' ').nth(1).unwrap_or_default();
        let own = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}", path.len());
        own + "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"
    });
    for turn in 0..40 {
        let path = format!("/{turn}");
        let reply = rig.get("odd", &path, &[]);
        assert!(
            reply.status == 503 || reply.body == path.as_bytes(),
            "{path}: {}",
            reply.body.escape_ascii()
        );
    }
}

/// Answers whose end two readers would see in different places.
#[test]
fn answers_that_are_ambiguous_are_not_passed_on() {
    const ANSWERS: [&str; 6] = [
        "content-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "content-length: 1, 2\r\n\r\nab",
        "content-length: +1\r\n\r\na",
        "content-length: -1\r\n\r\na",
        "x : y\r\ncontent-length: 1\r\n\r\na",
        "x: y\r\n\0: z\r\ncontent-length: 1\r\n\r\na",
    ];
    let (rig, _) = odd(53, |head| {
        let number: usize = head[5..6].parse().unwrap_or_default();
        format!("HTTP/1.1 200 OK\r\n{}", ANSWERS[number])
    });
    for (number, answer) in ANSWERS.iter().enumerate() {
        let reply = rig.get("odd", &format!("/{number}"), &[]);
        assert!(matches!(reply.status, 502 | 503), "{answer:?}: {}", reply.status);
    }
    // Both at once: the encoding counts, and the length is taken off (RFC 9112 §6.3).
    let (rig, _) = odd(54, |_| {
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n".into()
    });
    let reply = rig.get("odd", "/", &[]);
    assert_eq!((reply.status, reply.body.as_slice(), reply.header("content-length")), (200, &b"a"[..], None));
}

/// Trailers stay trailers, and none that would mean something as a header is passed on (RFC 9110 §6.5.1).
#[test]
fn trailers_are_no_headers() {
    let (told, tell) = std::sync::mpsc::channel();
    let told = Mutex::new(told);
    let address = server(55, move |mut stream| {
        let mut octets = Vec::new();
        let mut buffer = [0; 4096];
        while !octets.windows(3).any(|end| end == b"0\r\n") || !octets.ends_with(b"\r\n\r\n") {
            match stream.read(&mut buffer) {
                Ok(n) if n > 0 => octets.extend_from_slice(&buffer[..n]),
                _ => return,
            }
        }
        let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
        let _ = told.lock().unwrap().send(String::from_utf8_lossy(&octets).into_owned());
    });
    let mut plan = echo();
    plan.servers = vec![("raw", address, vec!["raw"])];
    let rig = Rig::new(&plan, super::heads::SERVICES);
    let mut client = Client::new(rig.entry("raw", 80));
    client.send(
        "POST /trailers HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntrailer: x-end, x-istio-source, authorization, content-length, host\r\n\
         transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-end: 1\r\nx-istio-source: forged\r\nauthorization: forged\r\n\
         content-length: 77\r\nhost: forged\r\ntransfer-encoding: forged\r\n\r\n",
    );
    assert_eq!(client.read().status, 204);
    let octets = tell.recv_timeout(super::rig::PATIENCE).unwrap();
    let (head, rest) = octets.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("x-end: 1") && rest.to_ascii_lowercase().contains("x-end: 1"), "{octets}");
    assert!(!octets.contains("forged") && !octets.contains("77"), "{octets}");
}
