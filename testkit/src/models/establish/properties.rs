//! What must hold in the establishment model, and what must be reached.
use adit_core::hbone::establish::EstablishError;
use adit_core::http2::Side;
use stateright::Property;

use super::EstablishModel;
use super::driver::{Outcome, Seen, Tls, Wrong};

type Rule = Property<EstablishModel>;

pub(super) fn all() -> Vec<Rule> {
    let mut all = safety();
    all.extend(reached());
    all
}

fn safety() -> Vec<Rule> {
    vec![
        Rule::always("ready implies the peer was verified", |_, s| !s.any_ready_unverified()),
        Rule::always("client ready implies the server accepted the client", |_, s| {
            !s.client.is_ready() || s.server_accepted()
        }),
        Rule::always("a bad certificate never yields ready", |_, s| {
            !(s.has_bad_certificate() && s.any_ready())
        }),
        Rule::always("ready tells the peer's limit", |_, s| !s.tells_a_wrong_limit()),
        Rule::always("nothing follows the outcome", |_, s| !s.wrong.contains(&Wrong::AfterOutcome)),
        Rule::always("steps come in order", |_, s| !s.wrong.contains(&Wrong::OutOfOrder)),
        Rule::always("pending implies a deadline within the limits", |_, s| s.deadlines_are_armed()),
        Rule::always("no deadline passes unheeded", |_, s| s.deadlines_are_heeded()),
        Rule::always("nobody pends for ever", |_, s| !s.pends_for_ever()),
    ]
}

fn reached() -> Vec<Rule> {
    vec![
        Rule::sometimes("both ends are ready", |_, s| {
            s.client.is_ready() && s.server.as_ref().is_some_and(|server| server.is_ready())
        }),
        Rule::sometimes("the client's TLS is complete and the server has refused it", |_, s| {
            let refused = |outcome| outcome == Some(Outcome::Failed(EstablishError::Handshake));
            s.client.tls == Tls::Complete && s.server.as_ref().is_some_and(|server| refused(server.outcome))
        }),
        Rule::sometimes("an alert reaches the client", |_, s| s.seen.contains(&Seen::AlertAtClient)),
        Rule::sometimes("an alert reaches the server", |_, s| s.seen.contains(&Seen::AlertAtServer)),
        Rule::sometimes("a flight is split", |_, s| s.seen.contains(&Seen::SplitFlight)),
        Rule::sometimes("a dial ends too late", |_, s| s.seen.contains(&Seen::LateDial)),
        Rule::sometimes("a certificate comes too late", |_, s| s.seen.contains(&Seen::LateCertificate)),
        Rule::sometimes("no certificate", |_, s| s.failed(Side::Client, EstablishError::Certificate)),
        Rule::sometimes("the dial fails", |_, s| s.failed(Side::Client, EstablishError::Dial)),
        Rule::sometimes("the certificate is overdue", |_, s| {
            s.failed(Side::Server, EstablishError::CertificateTimeout)
        }),
        Rule::sometimes("the dial is overdue", |_, s| s.failed(Side::Client, EstablishError::DialTimeout)),
        Rule::sometimes("the client's handshake is overdue", |_, s| {
            s.failed(Side::Client, EstablishError::HandshakeTimeout)
        }),
        Rule::sometimes("the server's handshake is overdue", |_, s| {
            s.failed(Side::Server, EstablishError::HandshakeTimeout)
        }),
        Rule::sometimes("an owner gives up", |_, s| s.failed(Side::Server, EstablishError::Cancelled)),
    ]
}
