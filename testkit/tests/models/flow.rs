//! Flow control: searches that must hold, and planted faults for every property.
use adit_testkit::models::flow::{FRAME, Fault, FlowModel, WINDOW};
use adit_testkit::models::{assert_caught, assert_holds};

/// Two streams share a connection, and each could fill its window; the server may reset one of them.
const RESET: FlowModel = FlowModel {
    octets: &[WINDOW, WINDOW],
    server_resets: 1,
    client_resets: 0,
    lowers_window: false,
    fault: None,
};

#[test]
fn server_resets_a_stream() {
    assert_holds(&RESET, 60_000);
}

#[test]
fn client_resets_a_stream() {
    assert_holds(&FlowModel { octets: &[FRAME, WINDOW], server_resets: 0, client_resets: 1, ..RESET }, 5_000);
}

#[test]
fn window_becomes_negative() {
    assert_holds(&FlowModel { octets: &[2 * WINDOW], server_resets: 0, lowers_window: true, ..RESET }, 2_000);
}

/// Each line: what is done wrong, and the property that must fail for it.
#[test]
fn every_planted_fault_is_caught() {
    let faults = [
        (Fault::IgnoresCapacity, "neither end breaks the connection"),
        (Fault::CreditsOnArrival, "unread octets stay within the windows"),
        (Fault::CreditsTwice, "unread octets stay within the windows"),
        (Fault::DropsDataOfResetStreams, "nothing stalls"),
        (Fault::ForgetsHeldOfResetStreams, "no window is lost"),
        (Fault::MissesWritable, "nothing stalls"),
        (Fault::LosesConnectionCredit, "nothing stalls"),
        (Fault::LosesData, "a finished stream has arrived whole"),
    ];
    for (fault, property) in faults {
        assert_caught(&FlowModel { fault: Some(fault), ..RESET }, property);
    }
}
