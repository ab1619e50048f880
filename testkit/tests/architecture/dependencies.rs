//! What the core is built from, pinned: a new dependency or feature is a decision, and this is where it is written down.

use super::{cargo, members, read};

/// Every crate in adit-core's tree on the bare target, build-time ones included, with the features it is built with.
const CORE: &str = "\
aho-corasick [perf-literal]
cobs []
ipnet [serde]
memchr []
once_cell [alloc,race]
postcard [alloc]
proc-macro2 [default,proc-macro]
quote [default,proc-macro]
regex [perf-backtrack,perf-dfa,perf-inline,perf-literal,perf-onepass]
regex-automata [alloc,dfa-onepass,hybrid,meta,nfa-backtrack,nfa-pikevm,nfa-thompson,perf-inline,perf-literal,perf-literal-multisubstring,perf-literal-substring,syntax]
regex-syntax []
rustls []
rustls-pki-types [alloc,default]
rustls-webpki [alloc]
serde [alloc,derive,rc,serde_derive]
serde_core [alloc,rc,result]
serde_derive [default]
smallvec [const_generics,union]
subtle []
syn [clone-impls,default,derive,extra-traits,full,parsing,printing,proc-macro,visit]
syn [clone-impls,default,derive,parsing,printing,proc-macro]
thiserror []
thiserror-impl []
unicode-ident []
untrusted []
zeroize [alloc,default,derive,zeroize_derive]
zeroize_derive []";

/// Crates that shall not come in by any path: other TLS and HTTP/2 stacks that would carry traffic, and C libraries
/// that the machine would have to provide.
const UNWANTED: [&str; 6] = ["openssl", "openssl-sys", "native-tls", "boring", "boring-sys", "async-std"];

#[test]
fn the_core_is_built_from_what_is_listed_here() {
    let tree = cargo(&[
        "tree",
        "--locked",
        "--package=adit-core",
        "--edges=normal,build",
        "--target=x86_64-unknown-none",
        "--prefix=none",
        "--no-dedupe",
        "--format={p}\t[{f}]",
    ]);
    let mut found: Vec<String> = tree
        .lines()
        .skip(1)
        .map(|line| {
            let (package, features) = line.split_once('\t').expect("our format");
            format!("{} {features}", package.split(' ').next().unwrap_or_default())
        })
        .collect();
    found.sort();
    found.dedup();
    assert_eq!(found.join("\n"), CORE, "what adit-core is built from has changed: see docs/architecture.md");
}

#[test]
fn every_crate_comes_from_the_registry_or_from_here() {
    let lock = read("Cargo.lock");
    let sources: Vec<&str> = lock.lines().filter(|line| line.starts_with("source = ")).collect();
    assert!(!sources.is_empty());
    for source in sources {
        assert!(source.contains("rust-lang/crates.io-index"), "not from crates.io: {source}");
    }
}

#[test]
fn unwanted_crates_stay_out() {
    let lock = read("Cargo.lock");
    for name in UNWANTED {
        assert!(!lock.contains(&format!("name = \"{name}\"\n")), "{name} has come into Cargo.lock");
    }
}

/// Binaries → ops, control, adapters → runtime → core; nothing shipped depends on a binary, the test kit or the benches.
#[test]
fn dependencies_point_one_way() {
    const FLOORS: [&[&str]; 7] = [
        &["adit-core"],
        &["adit-runtime", "adit-control", "adit-ops"],
        &["adit-tokio", "adit-smol"],
        &["adit-process"],
        &["adit-node", "adit-waypoint"],
        &["adit-testkit", "adit-examples"],
        &["adit-bench"],
    ];
    let floor = |package: &str| FLOORS.iter().position(|floor| floor.contains(&package));
    for member in members() {
        let own =
            floor(&member.package).unwrap_or_else(|| panic!("{} has no floor in this test", member.package));
        for used in &member.uses {
            assert!(floor(used) < Some(own), "{} must not depend on {used}", member.package);
        }
    }
}
