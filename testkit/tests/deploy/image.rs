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

/// The stages from `FROM` to the next, by name; the last is what is built where none is named.
fn stages() -> Vec<(String, Vec<(String, String)>)> {
    let mut stages: Vec<(String, Vec<_>)> = Vec::new();
    for instruction in instructions() {
        if instruction.0 == "FROM" {
            stages.push((instruction.1, Vec::new()));
        } else if let Some((_, inside)) = stages.last_mut() {
            inside.push(instruction);
        }
    }
    stages
}

#[test]
fn the_last_stages_have_nothing_but_what_was_laid_out() {
    let stages = stages();
    let names: Vec<&str> = stages.iter().map(|stage| stage.0.as_str()).collect();
    assert_eq!(names, ["${BASE} AS build", "scratch AS waypoint", "scratch AS node"]);
    for ((_, inside), name) in stages.iter().skip(1).zip(["waypoint", "node"]) {
        let names: Vec<&str> = inside.iter().map(|it| it.0.as_str()).collect();
        assert_eq!(names, ["COPY", "WORKDIR", "USER", "ENTRYPOINT", "CMD"]);
        let value =
            |name: &str| inside.iter().find(|it| it.0 == name).map(|it| it.1.clone()).expect("it is there");
        assert_eq!(value("COPY"), format!("--from=build /image/{name}/ /"));
        assert_eq!(value("USER"), "65532:65532");
        // Relative paths of files begin there.
        assert_eq!(value("WORKDIR"), "/");
    }
}

#[test]
fn they_start_as_istios_chart_and_ours_start_theirs() {
    let started: Vec<Vec<String>> = all("ENTRYPOINT")
        .iter()
        .zip(&all("CMD"))
        .map(|(entry, rest)| [words(entry), words(rest)].concat())
        .collect();
    let expected: [&[&str]; 2] = [
        &["/usr/local/bin/adit-waypoint", "proxy", "--config", "/etc/adit/manifests"],
        &["/usr/local/bin/adit-node", "proxy", "ztunnel"],
    ];
    assert_eq!(started, expected);
}

#[test]
fn what_goes_in_is_pinned() {
    let manifest = read("Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).expect("a version");
    assert_eq!(all("ARG")[0], format!("BASE=rust:{}-bookworm", version.trim_matches('"')));
    let [build] = &all("RUN")[..] else { panic!("one step builds") };
    for binary in ["adit-node", "adit-waypoint"] {
        assert!(build.contains(&format!("cargo build --locked --release -p {binary} &&")), "{build}");
    }
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
    let name = binary.file_name().and_then(|name| name.to_str()).expect("a name");
    let installed = format!("usr/local/bin/{name}");
    let paths = [&installed, "etc/passwd", "etc/group", "etc/nsswitch.conf", "tmp", "var/run"];
    let missing: Vec<&str> = paths.into_iter().filter(|path| !has(path)).collect();
    let loader = ["lib64/ld-linux-x86-64.so.2", "lib/ld-linux-aarch64.so.1"].into_iter().any(has);
    let time = std::fs::metadata(place.join("etc/passwd")).and_then(|it| it.modified());
    std::fs::remove_dir_all(&place).expect("the layout goes");
    assert!(laid_out.status.success(), "{}", String::from_utf8_lossy(&laid_out.stderr));
    assert_eq!((missing, loader), (vec![], true));
    let day = std::time::UNIX_EPOCH + std::time::Duration::from_secs(86400);
    assert_eq!(time.expect("a time"), day);
}
