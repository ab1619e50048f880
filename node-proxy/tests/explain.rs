//! `adit-node explain` beside live proxies: what it says is what then happens.
mod common;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Output, Stdio};

use common::{Directory, Mesh, VIP, ask, echo};
use serde_json::Value;

fn explain(arguments: &[&str], stdin: Option<&str>) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_adit-node"))
        .arg("explain")
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Whoever does not read has said why on stderr.
    let _ = child.stdin.take().unwrap().write_all(stdin.unwrap_or_default().as_bytes());
    child.wait_with_output().unwrap()
}

/// The answer as JSON, and the exit code.
fn json(arguments: &[&str]) -> (Value, Option<i32>) {
    let output = explain(&[arguments, &["--json"]].concat(), None);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr, "");
    let text = String::from_utf8(output.stdout).unwrap();
    (serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")), output.status.code())
}

fn dump_of(ip: Ipv4Addr) -> String {
    let answer = ask(SocketAddr::from((ip, 15000)), "GET /config_dump HTTP/1.0\r\nhost: x\r\n\r\n").unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn a_live_proxy_is_asked_and_does_what_was_said() {
    let mut mesh = Mesh::start("explain", "tokio", &[], echo);
    let admin = format!("http://{}:15000", mesh.client_ip);
    let ask = |to: &str| json(&["--admin", &admin, "--from", "test/client", "--to", to]);

    let (told, code) = ask(&format!("{VIP}:80"));
    assert_eq!((told["allowed"].as_bool(), code), (Some(true), Some(0)));
    let sent = &told["outcome"]["sent"];
    assert_eq!(sent["dial"], mesh.server_hbone().to_string());
    assert_eq!(sent["expected"][0], "spiffe://cluster.local/ns/test/sa/server");
    assert_eq!(told["notes"], serde_json::json!([]));
    let mut stream = mesh.connect(80).unwrap();
    stream.write_all(b"hello").unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();
    let authority = sent["authority"].as_str().unwrap();
    drop(stream);
    mesh.server.line(&["connection complete", &format!("dst.hbone_addr={authority}")]);

    let (told, code) = ask("server.test:81");
    assert_eq!((told["allowed"].as_bool(), code), (Some(false), Some(1)));
    let judged = &told["outcome"]["sent"]["arrival"]["judged"];
    assert_eq!(judged["policies"][0]["matched"], 0);
    // The policy is the server's, whose log has the same words.
    let because = judged["because"].as_str().unwrap();
    assert_eq!(because, "explicitly denied by: test/closed");
    let denied = mesh.connect(81).and_then(|mut stream| stream.read(&mut [0; 1]));
    assert!(!matches!(denied, Ok(1..)), "{denied:?}");
    mesh.server.line(&[because]);

    let (told, code) = ask(&format!("{VIP}:82"));
    assert_eq!(
        (&told["outcome"]["refused"], code),
        (&Value::from(format!("no healthy upstream: {VIP}:82")), Some(1))
    );
}

#[test]
fn a_saved_dump_is_as_good() {
    let mesh = Mesh::start("explain-dump", "smol", &[], echo);
    let text = dump_of(mesh.client_ip);
    drop(mesh);
    let directory = Directory::new("explain-file");
    let file = directory.path().join("dump.json");
    std::fs::write(&file, &text).unwrap();
    let target = format!("{VIP}:80");
    let asked = ["--from", "test/client", "--to", &target];
    let by_file = explain(&[&asked[..], &["--dump", file.to_str().unwrap()]].concat(), None);
    let by_stdin = explain(&[&asked[..], &["--dump", "-"]].concat(), Some(&text));
    let told = String::from_utf8(by_file.stdout.clone()).unwrap();
    assert!(told.contains("\nverdict     allowed: no ALLOW policy bears on the workload\n"), "{told}");
    assert_eq!((by_file.status.code(), by_file.stdout), (Some(0), by_stdin.stdout));

    // A bad entry is named, and the rest is used.
    let mut dump: Value = serde_json::from_str(&text).unwrap();
    dump["services"][0]["vips"][0] = "here".into();
    let output = explain(&[&asked[..], &["--dump", "-"]].concat(), Some(&dump.to_string()));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr, "warning: -: services[0].vips[0]: got \"here\", expected network/address\n");
    assert!(String::from_utf8(output.stdout).unwrap().contains("\nnote        not everything in the dump"));
}

#[test]
fn where_there_is_no_answer_the_code_is_2_and_the_reason_is_told() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let admin = format!("http://{free}");
    let asked = ["--from", "a/b", "--to", "10.0.0.1:80"];
    for (more, stdin, expected) in [
        (&["--admin", &admin][..], None, format!("error: nothing answers at {admin}: ")),
        (
            &["--dump", "/nonexistent/dump"],
            None,
            "error: cannot read the dump /nonexistent/dump: ".to_owned(),
        ),
        (&["--dump", "-"], Some("{}"), "error: -: the JSON has none of `workloads`".to_owned()),
        (&["--dump", "-"], Some("{"), "error: -: not the JSON of a config_dump: EOF".to_owned()),
        (&["--dump", "-"], Some("{\"workloads\": []}"), "error: --from \"a/b\": no workload".to_owned()),
        (&["--what"], None, "error: unexpected argument '--what'".to_owned()),
    ] {
        let output = explain(&[&asked[..], more].concat(), stdin);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.starts_with(&expected), "{stderr}");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{stderr}");
    }
}
