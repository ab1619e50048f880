//! What source files must and must not hold.

use super::{files, members, read, root, rust_files};

/// Lines a source file may have, its tests included.
const FILE_BUDGET: usize = 600;

/// Files that may be longer, up to this many lines, and why.
const LONGER: [(&str, usize, &str); 0] = [];

/// Crates that may hold `unsafe`: what they need it for stands beside each use.
const UNSAFE: [&str; 3] = ["runtime", "runtime-tokio", "runtime-smol"];

#[test]
fn files_are_short() {
    let mut too_long = Vec::new();
    for (path, text) in rust_files() {
        let lines = text.lines().count();
        let budget =
            LONGER.iter().find(|(longer, ..)| *longer == path).map_or(FILE_BUDGET, |(_, budget, _)| *budget);
        if lines > budget {
            too_long.push(format!("{path}: {lines} lines, {budget} allowed"));
        }
    }
    assert_eq!(too_long, Vec::<String>::new());
    for (path, _, reason) in LONGER {
        assert!(root().join(path).exists() && !reason.is_empty(), "{path} needs no exception any more");
        assert!(read(path).lines().count() > FILE_BUDGET, "{path} needs no exception any more");
    }
}

/// README promises that a reader needs no more than a page or two.
#[test]
fn examples_are_short() {
    let examples = rust_files()
        .into_iter()
        .filter(|(path, _)| path.strip_prefix("examples/").is_some_and(|inside| !inside.contains('/')));
    let too_long: Vec<String> =
        examples.filter(|(_, text)| text.lines().count() >= 100).map(|(path, _)| path).collect();
    assert_eq!(too_long, Vec::<String>::new(), "examples have fewer than 100 lines");
}

#[test]
fn files_say_their_subject_in_the_first_line() {
    let silent: Vec<String> = rust_files()
        .into_iter()
        // A file of tests is about the file that it stands beside.
        .filter(|(path, _)| !path.ends_with("/tests.rs"))
        .filter(|(_, text)| {
            let first = text.lines().find(|line| !line.starts_with("#!"));
            !first.is_some_and(|line| line.starts_with("//! ") && line.len() > 12)
        })
        .map(|(path, _)| path)
        .collect();
    assert_eq!(
        silent,
        Vec::<String>::new(),
        "each file begins with a line of //! that says what it is about"
    );
}

#[test]
fn unsafe_code_is_forbidden_outside_the_runtime() {
    let mut open = Vec::new();
    for member in members().iter().filter(|member| !UNSAFE.contains(&member.folder.as_str())) {
        let roots = ["src/lib.rs", "src/main.rs"].map(|file| format!("{}/{file}", member.folder));
        let roots: Vec<String> = roots.into_iter().filter(|path| root().join(path).exists()).collect();
        assert!(!roots.is_empty(), "{} has no crate root", member.folder);
        open.extend(roots.into_iter().filter(|path| !read(path).contains("#![forbid(unsafe_code)]")));
    }
    assert_eq!(open, Vec::<String>::new(), "these need #![forbid(unsafe_code)]");
}

#[test]
fn nothing_is_left_unwritten() {
    // In two pieces, so that this file does not find itself.
    let marks = [
        concat!("to", "do!("),
        concat!("unimpl", "emented!("),
        concat!("SKELE", "TON"),
        concat!("FIX", "ME"),
    ];
    let mut found = Vec::new();
    for (path, text) in rust_files() {
        found.extend(marks.iter().filter(|mark| text.contains(*mark)).map(|mark| format!("{path}: {mark}")));
    }
    assert_eq!(found, Vec::<String>::new());
}

/// Paths and hosts of the machine it was written on mean nothing to anybody else.
#[test]
fn nothing_names_the_machine_it_was_written_on() {
    let words = [
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/wo", "rk/"),
        concat!("/Us", "ers/"),
        concat!("/tmp/", "bash"),
        concat!("index.", "crates.io"),
        concat!("static.", "crates.io"),
        concat!("pypi.", "org"),
        concat!("files.", "pythonhosted"),
        concat!("deb.", "debian.org"),
        concat!("artif", "actory"),
    ];
    let mut found = Vec::new();
    for path in files() {
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else { continue };
        found.extend(
            words
                .iter()
                .filter(|word| text.contains(*word))
                .map(|word| format!("{}: {word}", path.display())),
        );
    }
    assert_eq!(found, Vec::<String>::new());
}

/// A crate's clippy.toml replaces the root's.
#[test]
fn the_cores_clippy_settings_hold_the_roots() {
    let core = read("core/clippy.toml");
    let settings = |text: &str| -> Vec<String> {
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    };
    let in_core = settings(&core);
    let root = settings(&read("clippy.toml"));
    assert!(!root.is_empty());
    for setting in root {
        assert!(in_core.contains(&setting), "core/clippy.toml must repeat {setting}");
    }
}

/// The bans that keep the core pure are all there, each with its reason.
#[test]
fn the_cores_bans_are_whole() {
    let core = read("core/clippy.toml");
    let bans: Vec<&str> = core.lines().filter(|line| line.contains("path = ")).collect();
    for ban in &bans {
        assert!(ban.contains("reason = \""), "no reason: {ban}");
    }
    let wanted = [
        "std::time::Instant",
        "std::time::SystemTime",
        "std::time::Instant::now",
        "std::time::SystemTime::now",
        "std::thread::sleep",
        "std::thread::spawn",
        "std::env::var",
        "std::process::exit",
        "std::process::Command",
        "std::net::TcpStream",
        "std::net::TcpListener",
        "std::net::UdpSocket",
        "std::collections::HashMap",
        "std::collections::HashSet",
        "std::println",
        "std::eprintln",
    ];
    for path in wanted {
        assert!(
            bans.iter().any(|ban| ban.contains(&format!("\"{path}\""))),
            "core/clippy.toml must ban {path}"
        );
    }
}
