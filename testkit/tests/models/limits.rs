//! Rate limits: searches that must hold, and planted faults for every property.
use adit_testkit::models::limits::{Action, Fault, Limit, LimitsModel};
use adit_testkit::models::{assert_caught, assert_holds, shortest};

const NARROW: Option<Limit> = Some(Limit { burst: 2, seconds: 2 });
const WIDE: Option<Limit> = Some(Limit { burst: 3, seconds: 2 });
const FAST: Option<Limit> = Some(Limit { burst: 2, seconds: 1 });

const BOUND: &str = "in no stretch of time do more pass than the bucket holds and what came";
const EARLY: &str = "nobody is refused before a bucket's worth has passed";

/// Two threads, one client, a limit that is resized twice.
const RESIZED: LimitsModel = LimitsModel {
    workers: 2,
    clients: 1,
    max_keys: 1,
    requests: 7,
    seconds: 4,
    limits: &[NARROW, WIDE],
    changes: 2,
    fault: None,
};

/// The limit goes and comes back, the same or faster.
const REMOVED: LimitsModel =
    LimitsModel { limits: &[NARROW, None, FAST], requests: 6, seconds: 3, ..RESIZED };

/// Two clients, of whom one has a bucket of its own.
const CROWD: LimitsModel = LimitsModel { clients: 2, requests: 6, changes: 0, ..RESIZED };

#[test]
fn a_limit_that_is_resized() {
    assert_holds(&RESIZED, 140_000);
}

#[test]
fn a_limit_that_goes_and_comes_back() {
    assert_holds(&REMOVED, 130_000);
}

#[test]
fn more_clients_than_buckets() {
    assert_holds(&CROWD, 65_000);
    assert_holds(&LimitsModel { max_keys: 0, ..CROWD }, 20_000);
}

/// Each line: what the driver does wrong, and the property that must fail for it.
#[test]
fn every_planted_fault_is_caught() {
    let faults = [
        (Fault::SharesNothing, BOUND, RESIZED),
        (Fault::TakesFromACopy, BOUND, RESIZED),
        (Fault::ForgetsAtEachChange, BOUND, RESIZED),
        (Fault::NamesVersions, BOUND, RESIZED),
        (Fault::HurriesTheClock, BOUND, CROWD),
        (Fault::MergesClients, EARLY, LimitsModel { max_keys: 2, ..CROWD }),
    ];
    for (fault, property, bounds) in faults {
        assert_caught(&LimitsModel { fault: Some(fault), ..bounds }, property);
    }
}

/// Without a lock, two threads give the last token to two requests.
#[test]
fn counterexamples_are_short() {
    let limits = &[Some(Limit { burst: 1, seconds: 2 })];
    let model = LimitsModel { limits, changes: 0, fault: Some(Fault::TakesFromACopy), ..RESIZED };
    let path = shortest(&model, BOUND);
    let expected = [Action::Come(0), Action::Come(0), Action::Take(0), Action::Take(1)];
    assert_eq!(path, Some(expected.into()));
}
