//! Each example runs to its end, where it has checked what it shows.
use std::process::Command;

/// Runs `program` and fails with what it wrote, also when it takes so long that it must hang.
fn run(program: &str) {
    let output = Command::new("timeout").args(["60", program]).output().expect("coreutils' timeout runs");
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{error}", output.status);
}

#[test]
fn pair() {
    run(env!("CARGO_BIN_EXE_pair"));
}

#[test]
fn tokio() {
    run(env!("CARGO_BIN_EXE_tokio"));
}

#[test]
fn smol() {
    run(env!("CARGO_BIN_EXE_smol"));
}
