//! `adit-node check --admin`: what a proxy last found of its pods, told to people.
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::thread;

use adit_ops::capture::{CaptureState, Outcome, PodCapture};

/// What the program prints and exits with when a proxy answers `body` under `status`.
fn check(status: &str, body: String, flags: &[&str]) -> (Option<i32>, String, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let proxy = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut asked = [0; 512];
        let length = stream.read(&mut asked).expect("a question");
        stream.write_all(answer.as_bytes()).expect("room for an answer");
        String::from_utf8_lossy(&asked[..length]).into_owned()
    });
    let output = Command::new(env!("CARGO_BIN_EXE_adit-node"))
        .args(["check", "--admin", &origin])
        .args(flags)
        .output()
        .expect("the program");
    let asked = proxy.join().expect("an end");
    assert!(asked.starts_with("GET /capture "), "{asked}");
    let text = |octets| String::from_utf8(octets).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn pods(second: Outcome) -> String {
    let pod = |name: &str, ipv4| PodCapture {
        uid: name.into(),
        namespace: "shop".into(),
        name: name.into(),
        state: CaptureState { ipv4, ipv6: Outcome::NoRoute },
    };
    serde_json::to_string(&[pod("web", Outcome::Captured), pod("echo", second)]).expect("JSON")
}

#[test]
fn pods_of_a_running_proxy_are_told_with_what_to_do() {
    let (code, text, _) = check("200 OK", pods(Outcome::Captured), &[]);
    assert_eq!((code, text.lines().count()), (Some(0), 2), "{text}");
    assert!(text.starts_with("ok       shop/web   IPv4 captured"), "{text}");

    let bypassed = || pods(Outcome::NotCaptured { why: "no answer".to_owned() });
    let (code, text, _) = check("200 OK", bypassed(), &[]);
    assert_eq!(code, Some(1));
    assert!(
        text.contains("PROBLEM  shop/echo  IPv4 not captured: no answer") && text.contains("fix: "),
        "{text}"
    );
    let (code, text, _) = check("200 OK", bypassed(), &["--json"]);
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, &report["findings"][1]["verdict"]), (Some(1), &"problem".into()));
}

#[test]
fn what_is_no_answer_is_told_apart_from_a_bad_one() {
    let (code, text, _) = check("200 OK", pods(Outcome::Unknown { why: "gone".to_owned() }), &[]);
    assert_eq!(code, Some(2), "{text}");
    let (code, text, _) = check("200 OK", "[]".to_owned(), &[]);
    assert_eq!((code, text.contains("looks at no pods")), (Some(2), true), "{text}");
    // ztunnel has no such page.
    let (code, _, error) = check("404 Not Found", String::new(), &[]);
    assert_eq!((code, error.contains("use --netns")), (Some(2), true), "{error}");
    let (code, _, error) = check("200 OK", "{".to_owned(), &[]);
    assert_eq!((code, error.contains("same version")), (Some(2), true), "{error}");
}
