//! Two tunnels without cryptography on a bad network, frozen and thawed on the way: what was seen, and when.
use adit_core::rng::Rng;
use adit_testkit::pair::{Chunks, Ending, Net, Pair, Script, Setup, StreamScript};

use super::Digest;

/// Runs streams of many sizes and endings and writes down both ends' transcripts.
pub(crate) fn run(seed: u64, digest: &mut Digest) {
    let mut rng = Rng::new(seed);
    let mut below = |bound: u64| usize::try_from(rng.below(bound)).expect("small");
    let scripts: Vec<StreamScript> = (0..10)
        .map(|stream| {
            let ending = if stream % 5 == 4 { Ending::Reset } else { Ending::Finish };
            let client = Script { burst: 500 + below(20_000), ending, ..Script::sends(below(60_000)) };
            let server = Script { read: 500 + below(5_000), ..Script::sends(below(30_000)) };
            StreamScript {
                status: if stream % 7 == 6 { 503 } else { 200 },
                ..StreamScript::new(client, server)
            }
        })
        .collect();
    let net = Net { buffer: 30_000, chunks: Chunks::Random(5_000), ..Net::default() };
    let setup = Setup { seed, net, hand_over_once_in: 20, ..Setup::default() };
    let outcome = Pair::new(setup, scripts).run().expect("an orderly run");
    digest.said(&outcome);
}
