//! Establishment: one search that must hold, and planted faults for every property.
use adit_core::http2::Side;
use adit_testkit::models::establish::{Action, EstablishModel, Fault};
use adit_testkit::models::{assert_caught, assert_holds, shortest};

#[test]
fn client_and_server_agree() {
    assert_holds(&EstablishModel { fault: None }, 700);
}

/// Each line: what is done wrong, and the property that must fail for it.
#[test]
fn every_planted_fault_is_caught() {
    let faults = [
        (Fault::ReadyAtTls, "client ready implies the server accepted the client"),
        (Fault::ReadyAtTls, "a bad certificate never yields ready"),
        (Fault::HalfRttSettings, "client ready implies the server accepted the client"),
        (Fault::SkipsVerification, "ready implies the peer was verified"),
        (Fault::SkipsVerification, "a bad certificate never yields ready"),
        (Fault::ServerSkipsVerification, "ready implies the peer was verified"),
        (Fault::ServerSkipsVerification, "client ready implies the server accepted the client"),
        (Fault::IgnoresTimers, "no deadline passes unheeded"),
        (Fault::IgnoresTimers, "nobody pends for ever"),
        (Fault::NoHandshakeLimit, "pending implies a deadline within the limits"),
        (Fault::NoHandshakeLimit, "nobody pends for ever"),
        (Fault::StartsOver, "nothing follows the outcome"),
        (Fault::AnswersForCertificate, "steps come in order"),
    ];
    for (fault, property) in faults {
        assert_caught(&EstablishModel { fault: Some(fault) }, property);
    }
}

/// Why design D9 exists, on the shortest path: the client is done as soon as it has the server's flight.
#[test]
fn counterexamples_are_short() {
    let model = EstablishModel { fault: Some(Fault::ReadyAtTls) };
    let path = shortest(&model, "client ready implies the server accepted the client");
    let expected = [
        Action::Certificate(Side::Client, true),
        Action::Dialed(true),
        Action::Certificate(Side::Server, true),
        Action::Deliver(Side::Server, 2),
        Action::Deliver(Side::Client, 2),
    ];
    assert_eq!(path, Some(expected.into()));
}
