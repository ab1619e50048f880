//! Replays the fuzz targets' corpus, and pseudo-random changes of it, without a fuzzer.
use std::path::{Path, PathBuf};

use adit_core::rng::Rng;
use adit_testkit::fuzz::TARGETS;

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name)
}

/// The seeds of a target, in the order of their names.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = std::fs::read_dir(corpus(name))
        .unwrap_or_else(|error| panic!("no corpus for {name}: {error}"))
        .map(|entry| entry.expect("a directory entry").path())
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a readable seed")).collect()
}

/// A change as a fuzzer makes it: octets replaced, inserted, repeated or cut off.
fn change(rng: &mut Rng, input: &mut Vec<u8>) {
    let mut below = |n: usize| usize::try_from(rng.below(n.max(1) as u64)).unwrap_or(0);
    for _ in 0..=below(6) {
        let place = below(input.len());
        match below(5) {
            0 if !input.is_empty() => input[place] = below(256) as u8,
            1 if !input.is_empty() => input[place] ^= 1 << below(8),
            2 => input.insert(place, below(256) as u8),
            3 => {
                let again = input[place..].iter().take(below(40)).copied().collect::<Vec<_>>();
                input.splice(place..place, again);
            }
            _ => input.truncate(input.len() - below(input.len() / 4)),
        }
    }
}

fn replay(name: &str) {
    let (_, body) = TARGETS.into_iter().find(|target| target.0 == name).expect("a target");
    let seeds = seeds(name);
    assert!(seeds.len() >= 3, "{name} has {} seeds", seeds.len());
    body(&[]);
    let mut rng = Rng::new(7);
    for seed in &seeds {
        body(seed);
        for _ in 0..200 {
            let mut input = seed.clone();
            change(&mut rng, &mut input);
            if let Err(panic) = std::panic::catch_unwind(|| body(&input)) {
                eprintln!("{name} fails for {:?}", input.escape_ascii().to_string());
                std::panic::resume_unwind(panic);
            }
        }
    }
}

macro_rules! targets {
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        #[test]
        fn every_target_is_replayed() {
            assert_eq!([$(stringify!($name)),*], TARGETS.map(|target| target.0));
        }
    };
}

targets!(
    admin,
    frames,
    hpack,
    record_opener,
    client_hello,
    headers,
    yaml,
    pair_hostile,
    policy,
    dns,
    xds,
    undump,
    zds,
    jwt,
    jwks,
    resources,
    http1,
    http1_hyper,
    sniff,
    decision
);
