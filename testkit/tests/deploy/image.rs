//! The Dockerfile: no daemon builds it here, so its stages, user and entry are read, and the root that its script lays out is tried.
use crate::{read, root};

/// An instruction: its name, and the rest with continued lines joined.
fn instructions() -> Vec<(String, String)> {
    let joined = read("deploy/Dockerfile").replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once(' ').expect("an instruction and what it is about"))
        .map(|(name, rest)| (name.to_owned(), rest.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect()
}

fn all(name: &str) -> Vec<String> {
    instructions().into_iter().filter(|it| it.0 == name).map(|it| it.1).collect()
}

fn words(json: &str) -> Vec<String> {
    serde_json::from_str(json).expect("the form that starts no shell")
}

#[test]
fn the_last_stage_has_nothing_but_what_was_laid_out() {
    assert_eq!(all("FROM"), ["${BASE} AS build", "scratch"]);
    let instructions = instructions();
    let last = instructions.iter().rposition(|it| it.0 == "FROM").expect("a stage");
    let names: Vec<&str> = instructions[last..].iter().map(|it| it.0.as_str()).collect();
    assert_eq!(names, ["FROM", "COPY", "WORKDIR", "USER", "ENTRYPOINT", "CMD"]);
    assert_eq!(all("COPY"), [". .", "--from=build /image/ /"]);
}

#[test]
fn it_starts_as_istios_chart_starts_its_own() {
    let started = [words(&all("ENTRYPOINT")[0]), words(&all("CMD")[0])].concat();
    assert_eq!(started, ["/usr/local/bin/adit-node", "proxy", "ztunnel"]);
    assert_eq!(all("USER"), ["65532:65532"]);
    // Relative paths of files begin there.
    assert_eq!(all("WORKDIR").last().map(String::as_str), Some("/"));
}

#[test]
fn what_goes_in_is_pinned() {
    let manifest = read("Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).expect("a version");
    assert_eq!(all("ARG")[0], format!("BASE=rust:{}-bookworm", version.trim_matches('"')));
    let [build] = &all("RUN")[..] else { panic!("one step builds") };
    assert!(build.contains("cargo build --locked --release -p adit-node &&"), "{build}");
    let [environment] = &all("ENV")[..] else { panic!("one environment") };
    for part in ["SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH}", "--remap-path-prefix=/src="] {
        assert!(environment.contains(part), "{environment}");
    }
}

/// What the build needs is not kept from it, and what is kept from it is there.
#[test]
fn the_build_sees_every_member_of_the_workspace() {
    let ignored = read(".dockerignore");
    let ignored: Vec<&str> =
        ignored.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let manifest = read("Cargo.toml");
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = ")).expect("members");
    let members: Vec<String> = serde_json::from_str(members).expect("a list");
    let needed = members.iter().map(String::as_str);
    for path in needed.chain(["Cargo.toml", "Cargo.lock", "deploy/image"]) {
        assert!(!ignored.contains(&path), "{path} is needed");
        let inside = ignored.iter().filter(|pattern| pattern.starts_with(&format!("{path}/")));
        let unknown: Vec<_> = inside.filter(|pattern| **pattern != "testkit/nostd").collect();
        assert_eq!(unknown, Vec::<&&str>::new(), "part of what is needed");
    }
    for pattern in ignored.iter().filter(|pattern| !pattern.contains("target") && **pattern != ".git") {
        assert!(root().join(pattern).exists(), ".dockerignore: {pattern} is not there");
    }
}

/// Any program will do for the layout; this one is at hand, and runs there if its libraries do.
#[test]
fn the_layout_holds_all_that_the_binary_loads() {
    let place = std::env::temp_dir().join(format!("adit-image-{}", std::process::id()));
    let script = root().join("deploy/image/assemble");
    let binary = std::env::current_exe().expect("this test");
    let mut command = std::process::Command::new(script);
    command.arg(&binary).arg(&place).env("SOURCE_DATE_EPOCH", "86400");
    let laid_out = command.output().expect("the script runs");
    let has = |path: &str| place.join(path).exists();
    let paths = ["usr/local/bin/adit-node", "etc/passwd", "etc/group", "etc/nsswitch.conf", "tmp", "var/run"];
    let missing: Vec<&str> = paths.into_iter().filter(|path| !has(path)).collect();
    let loader = ["lib64/ld-linux-x86-64.so.2", "lib/ld-linux-aarch64.so.1"].into_iter().any(has);
    let time = std::fs::metadata(place.join("etc/passwd")).and_then(|it| it.modified());
    std::fs::remove_dir_all(&place).expect("the layout goes");
    assert!(laid_out.status.success(), "{}", String::from_utf8_lossy(&laid_out.stderr));
    assert_eq!((missing, loader), (vec![], true));
    let day = std::time::UNIX_EPOCH + std::time::Duration::from_secs(86400);
    assert_eq!(time.expect("a time"), day);
}
