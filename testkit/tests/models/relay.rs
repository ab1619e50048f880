//! The relay: one search that must hold, and planted faults for every property.
use adit_testkit::models::relay::{Fault, RelayModel};
use adit_testkit::models::{assert_caught, assert_holds};

const OCTETS: u64 = 2;

#[test]
fn every_order_of_ending() {
    assert_holds(&RelayModel { octets: OCTETS, fault: None }, 650);
}

/// Each line: what the driver does wrong, and the property that must fail for it.
#[test]
fn every_planted_fault_is_caught() {
    let faults = [
        (Fault::ReportsDeliveryTooEarly, "an end is finished only when all was delivered to it"),
        (Fault::ForgetsDelivery, "an end that has all is told so"),
        (Fault::ForgetsOctets, "an end is finished only when all was delivered to it"),
        (Fault::ForgetsOctets, "complete means that no octet was lost"),
        (Fault::HidesFinish, "half-closed implies a deadline"),
        (Fault::TakesFinishForGone, "complete means that no octet was lost"),
        (Fault::TakesGoneForFinish, "each end is told once"),
        (Fault::TakesGoneForFinish, "what can end has ended"),
        (Fault::TakesResetForGone, "a reset reaches the other end"),
        (Fault::IgnoresTimers, "what can end has ended"),
        (Fault::ActsOnACopyToo, "each end is told once"),
        (Fault::ActsOnACopyToo, "nothing follows the end"),
    ];
    for (fault, property) in faults {
        assert_caught(&RelayModel { octets: OCTETS, fault: Some(fault) }, property);
    }
}
