//! The fourth net of purity (docs/architecture.md): the same seed and script give the same output, octet for octet, in two
//! processes. What differs per process (hash seeds, addresses, clocks, thread ids) would show here and nowhere else.
//!
//! The test starts itself twice as [`script`], which prints a hash over everything that the machines said.

#[path = "determinism/pair.rs"]
mod pair;
#[path = "determinism/pool.rs"]
mod pool;
#[path = "determinism/shard.rs"]
mod shard;

use std::env;
use std::fmt::{self, Write};
use std::process::Command;

/// Names the seed to the child, and makes it one.
const SEED: &str = "ADIT_DETERMINISM_SEED";
/// Marks the line with the hash.
const MARK: &str = "determinism hash ";

/// FNV-1a over whatever is written to it.
struct Digest(u64);

impl Digest {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn octets(&mut self, octets: &[u8]) {
        for octet in octets {
            self.0 = (self.0 ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// Adds one saying of a machine.
    fn said(&mut self, what: &dyn fmt::Debug) {
        writeln!(self, "{what:?}").expect("a digest takes anything");
    }
}

impl Write for Digest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.octets(text.as_bytes());
        Ok(())
    }
}

/// What the children run, with the seed they are given; in this process, with another.
#[test]
fn script() {
    let seed = env::var(SEED).map_or(0, |seed| seed.parse().expect("a seed"));
    let mut digest = Digest::new();
    pool::run(seed, &mut digest);
    shard::run(seed, &mut digest);
    pair::run(seed, &mut digest);
    println!("{MARK}{:016x}", digest.0);
}

/// The hash that a process of its own prints for `seed`.
fn hash(seed: u64) -> String {
    let output = Command::new(env::current_exe().expect("this test"))
        .args(["script", "--exact", "--nocapture", "--test-threads=1"])
        .env(SEED, seed.to_string())
        .output()
        .expect("the test starts itself");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "seed {seed}: {text}{}", String::from_utf8_lossy(&output.stderr));
    let hash = text.split(MARK).nth(1).and_then(|rest| rest.lines().next());
    hash.unwrap_or_else(|| panic!("no hash in {text}")).to_owned()
}

#[test]
fn two_processes_say_the_same() {
    for seed in [1, 2] {
        assert_eq!(
            hash(seed),
            hash(seed),
            "seed {seed}: something in the core depends on more than its inputs"
        );
    }
}

/// The hash is worth something only if it changes with what happens.
#[test]
fn another_seed_says_something_else() {
    assert_ne!(hash(1), hash(2));
}
