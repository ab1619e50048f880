//! The pool and the drain: four searches that must hold, and planted faults for every property.
use adit_core::pool::TunnelId;
use adit_testkit::models::pool::{Action, Budget, Fault, PoolModel};
use adit_testkit::models::{assert_caught, assert_holds, shortest};

const ONE_EACH: Budget = Budget { failures: 1, crashes: 1, goaways: 1, settings: 1 };
const NONE: Budget = Budget { failures: 0, crashes: 0, goaways: 0, settings: 0 };

/// Two keys, every fault of the world once, and a stop.
const WHOLE: PoolModel = PoolModel {
    requests: 3,
    keys: 2,
    max_streams: 2,
    max_tunnels: 3,
    limits: &[1, 2],
    budget: ONE_EACH,
    drain: true,
    rotation: false,
    fault: None,
};

/// Fewer tunnels than requests, and peers that allow no stream.
const SCARCE: PoolModel = PoolModel { max_tunnels: 2, limits: &[0, 1, 2], budget: NONE, ..WHOLE };

/// The certificate changes: new requests use a new key, the old tunnels go away.
const ROTATION: PoolModel =
    PoolModel { requests: 4, rotation: true, max_tunnels: 4, budget: Budget { crashes: 1, ..NONE }, ..WHOLE };

/// More requests, one key.
const LONG: PoolModel =
    PoolModel { requests: 4, keys: 1, max_tunnels: 4, budget: Budget { goaways: 0, ..ONE_EACH }, ..WHOLE };

#[test]
fn two_keys_every_fault_and_a_stop() {
    assert_holds(&WHOLE, 35_000);
}

#[test]
fn four_requests_of_one_key() {
    assert_holds(&LONG, 19_000);
}

#[test]
fn scarce_tunnels() {
    assert_holds(&SCARCE, 2_500);
}

#[test]
fn certificate_rotation() {
    assert_holds(&ROTATION, 27_000);
}

/// Each line: what the driver does wrong, and the property that must fail for it.
#[test]
fn every_planted_fault_is_caught() {
    let faults = [
        (Fault::TellsLimitPlusOne, "no grant over a tunnel's limit", WHOLE),
        (Fault::HidesSettings, "no grant over a tunnel's limit", WHOLE),
        (Fault::HidesSettings, "nobody waits while a tunnel has room", WHOLE),
        (Fault::MergesKeys, "no grant across keys", WHOLE),
        (Fault::MergesKeys, "no grant across keys", ROTATION),
        (Fault::ReportsDialAtOnce, "no grant on a tunnel that is not up or goes away", WHOLE),
        (Fault::HidesGoAway, "no grant on a tunnel that is not up or goes away", WHOLE),
        (Fault::HidesCancel, "one answer per request", WHOLE),
        (Fault::HandsOverNewestFirst, "grants in the order of asking", WHOLE),
        (Fault::HandsOverNewestFirst, "nobody waits for ever", WHOLE),
        (Fault::SplitsKeys, "one dial in flight per key", WHOLE),
        (Fault::SplitsKeys, "nobody waits while a tunnel has room", WHOLE),
        (Fault::HidesDrain, "no dial once the stop has begun", WHOLE),
        (Fault::HidesDrain, "the stop ends", WHOLE),
        (Fault::ReleasesTwice, "the pool cuts no lease", WHOLE),
        (Fault::ReleasesTwice, "no grant over a tunnel's limit", LONG),
        (Fault::ReportsGoneTooEarly, "drained once, with no tunnel left", WHOLE),
        (Fault::PassesOnOneRefusal, "a failed dial reaches every waiter", WHOLE),
        (Fault::PassesOnOneRefusal, "nobody waits for ever", WHOLE),
        (Fault::AllowsOneTunnelMore, "never more tunnels than allowed", SCARCE),
        (Fault::ForgetsRelease, "full only when no tunnel is idle", SCARCE),
        (Fault::ForgetsRelease, "no tunnel stays for ever", WHOLE),
        (Fault::IgnoresTimers, "no tunnel stays for ever", WHOLE),
    ];
    for (fault, property, bounds) in faults {
        assert_caught(&PoolModel { fault: Some(fault), ..bounds }, property);
    }
}

/// ztunnel's third known fault, on the shortest path: two ask, the dial fails, one of them is never told.
#[test]
fn counterexamples_are_short() {
    let model = PoolModel { drain: false, fault: Some(Fault::PassesOnOneRefusal), ..LONG };
    let path = shortest(&model, "nobody waits for ever");
    let expected = [Action::Acquire(0), Action::Acquire(0), Action::DialFailed(TunnelId(0))];
    assert_eq!(path, Some(expected.into()));
}
