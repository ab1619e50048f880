//! Scripts: one situation of interfaces §1.4–1.6 each.

use std::format;
use std::string::{String, ToString};
use std::time::Duration;
use std::vec;
use std::vec::Vec;

use super::super::{Answer, Client, DemandError, Ending, Event, Reason, ResourceType, Subscription, Waiter};
use super::{ADDRESS, POLICY, bad, client, good, open, requests, response, versions};
use crate::time::Instant;

const NOW: Instant = Instant::from_millis(5);

fn events(client: &mut Client) -> Vec<Event> {
    std::iter::from_fn(|| client.poll_event()).collect()
}

fn answered(client: &mut Client) -> Vec<(u64, Answer)> {
    let answers = events(client).into_iter().filter_map(|event| match event {
        Event::Answered { waiter, answer } => Some((waiter.0, answer)),
        _ => None,
    });
    answers.collect()
}

fn strings(names: &[std::sync::Arc<str>]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn the_first_requests_ask_for_everything_in_order() {
    let mut client = client(Subscription::Wildcard);
    assert!(!client.has_request());
    let stream = open(&mut client, NOW);
    assert!(client.is_current(stream) && client.poll_open().is_none());
    let first = requests(&mut client);
    assert_eq!([&*first[0].type_url, &*first[1].type_url], [ADDRESS, POLICY]);
    for request in first {
        assert!(request.first && request.subscribe.is_empty() && request.unsubscribe.is_empty());
        assert!(request.initial_versions.is_empty() && request.nonce.is_empty() && request.error.is_none());
    }
}

#[test]
fn on_demand_asks_for_nothing_by_a_star_that_is_dropped_at_once() {
    let mut client = client(Subscription::OnDemand);
    open(&mut client, NOW);
    let first = requests(&mut client);
    assert_eq!(strings(&first[0].subscribe), ["*"]);
    assert_eq!(strings(&first[0].unsubscribe), ["*"]);
    assert!(first[1].subscribe.is_empty());
}

#[test]
fn good_resources_of_a_bad_response_are_retained_and_the_bad_one_is_named() {
    let mut client = client(Subscription::Wildcard);
    let stream = open(&mut client, NOW);
    requests(&mut client);
    let mixed = vec![good("a", "1"), bad("b", "no address"), good("c", "3"), bad("d", "odd")];
    client.handle_response(NOW, stream, response(ADDRESS, "n1", mixed, &[]));
    let answer = requests(&mut client).remove(0);
    assert_eq!((&*answer.type_url, &*answer.nonce), (ADDRESS, "n1"));
    assert_eq!(answer.error.as_deref(), Some("b: no address; d: odd"));
    assert!(!answer.first && answer.subscribe.is_empty());

    client.handle_response(NOW, stream, response(ADDRESS, "n2", vec![], &["c"]));
    let answer = requests(&mut client).remove(0);
    assert_eq!((&*answer.nonce, answer.error), ("n2", None));

    client.handle_closed(NOW, stream, Ending::Status { code: 2, message: "" });
    client.handle_timeout(NOW + Duration::from_millis(10));
    open(&mut client, NOW);
    let expected = [("a", "1"), ("b", ""), ("d", "")].map(|(name, v)| (name.to_string(), v.to_string()));
    assert_eq!(versions(&requests(&mut client)[0]), expected);
}

#[test]
fn a_response_in_pieces_counts_when_its_end_has_come() {
    let mut client = client(Subscription::OnDemand);
    let stream = open(&mut client, NOW);
    client.demand("a", Waiter(1)).unwrap();
    requests(&mut client);
    client.handle_resource(stream, ResourceType::Address, &good("a", "1"));
    client.handle_resource(stream, ResourceType::Address, &bad("b", "odd"));
    assert!(!client.has_request() && events(&mut client).is_empty(), "nothing is published yet");
    client.handle_response(NOW, stream, response(ADDRESS, "n", vec![good("c", "3")], &[]));
    assert_eq!(requests(&mut client)[0].error.as_deref(), Some("b: odd"));
    assert_eq!(answered(&mut client), [(1, Answer::Known)]);
}

#[test]
fn a_response_that_breaks_off_is_not_asked_for_again() {
    let mut client = client(Subscription::Wildcard);
    let stream = open(&mut client, NOW);
    requests(&mut client);
    client.handle_resource(stream, ResourceType::Address, &good("a", "1"));
    client.handle_resource(stream, ResourceType::Address, &bad("b", "odd"));
    client.handle_closed(NOW, stream, Ending::Status { code: 2, message: "" });
    client.handle_resource(stream, ResourceType::Address, &good("late", "1"));
    client.handle_timeout(NOW + Duration::from_secs(60));
    let stream = open(&mut client, NOW);
    let expected = [("a", "1"), ("b", "")].map(|(name, v)| (name.to_string(), v.to_string()));
    assert_eq!(versions(&requests(&mut client)[0]), expected);
    // What was wrong with it was its own matter.
    client.handle_response(NOW, stream, response(ADDRESS, "n", vec![], &[]));
    assert_eq!(requests(&mut client)[0].error, None);
}

#[test]
fn a_rejected_update_loses_the_version_of_the_copy_before() {
    let mut client = client(Subscription::Wildcard);
    let stream = open(&mut client, NOW);
    client.handle_response(NOW, stream, response(ADDRESS, "1", vec![good("a", "1")], &[]));
    client.handle_response(NOW, stream, response(ADDRESS, "2", vec![bad("a", "odd")], &[]));
    client.handle_closed(NOW, stream, Ending::Complete);
    open(&mut client, NOW);
    assert_eq!(versions(&requests(&mut client)[0]), [("a".to_string(), String::new())]);
}

#[test]
fn a_long_refusal_is_cut_and_counted() {
    let mut client = client(Subscription::Wildcard);
    let stream = open(&mut client, NOW);
    requests(&mut client);
    let many = (0..1000).map(|n| bad(&format!("workload-{n}"), "no address")).collect();
    client.handle_response(NOW, stream, response(ADDRESS, "1", many, &[]));
    let error = requests(&mut client).remove(0).error.expect("a refusal");
    assert!(error.len() < 9000 && error.ends_with(" more"), "{}", error.len());
}

#[test]
fn synced_when_every_wildcard_type_was_accepted_once() {
    let mut wildcard = client(Subscription::Wildcard);
    let stream = open(&mut wildcard, NOW);
    wildcard.handle_response(NOW, stream, response(POLICY, "1", vec![], &[]));
    wildcard.handle_response(NOW, stream, response(ADDRESS, "2", vec![bad("a", "odd")], &[]));
    assert!(events(&mut wildcard).is_empty() && !wildcard.is_synced());
    wildcard.handle_response(NOW, stream, response(ADDRESS, "3", vec![good("b", "1")], &[]));
    wildcard.handle_response(NOW, stream, response(ADDRESS, "4", vec![], &[]));
    assert_eq!(events(&mut wildcard), [Event::Synced]);
    assert!(wildcard.is_synced());

    let mut on_demand = client(Subscription::OnDemand);
    let stream = open(&mut on_demand, NOW);
    on_demand.handle_response(NOW, stream, response(POLICY, "1", vec![], &[]));
    assert_eq!(events(&mut on_demand), [Event::Synced]);
}

#[test]
fn an_unknown_type_is_acknowledged_and_ignored() {
    let mut client = client(Subscription::Wildcard);
    let stream = open(&mut client, NOW);
    requests(&mut client);
    client.handle_response(NOW, stream, response("type.googleapis.com/x", "7", vec![bad("a", "odd")], &[]));
    let answer = requests(&mut client).remove(0);
    assert_eq!((&*answer.type_url, &*answer.nonce, answer.error), ("type.googleapis.com/x", "7", None));
}

#[test]
fn demands_go_together_and_are_answered_by_name_alias_range_and_removal() {
    let mut client = client(Subscription::OnDemand);
    let stream = open(&mut client, NOW);
    requests(&mut client);
    client.demand("/10.0.0.1", Waiter(1)).unwrap();
    client.demand("/10.0.0.1", Waiter(2)).unwrap();
    client.demand("default/web", Waiter(3)).unwrap();
    assert_eq!(client.demand("x", Waiter(4)), Err(DemandError::Full(3)));
    let demand = requests(&mut client);
    assert_eq!(demand.len(), 1);
    assert_eq!(strings(&demand[0].subscribe), ["/10.0.0.1", "default/web"]);
    assert!(!demand[0].first && demand[0].nonce.is_empty() && demand[0].unsubscribe.is_empty());

    let mut workload = good("uid-1", "1");
    workload.aliases = vec!["/10.0.0.1".into()];
    client.handle_response(NOW, stream, response(ADDRESS, "1", vec![workload], &["default/web"]));
    assert_eq!(answered(&mut client), [(1, Answer::Known), (2, Answer::Known), (3, Answer::Absent)]);

    client.demand("n/10.1.2.3", Waiter(5)).unwrap();
    client.demand("other/10.1.2.3", Waiter(6)).unwrap();
    let mut service = bad("default/range", "odd");
    service.aliases = vec!["n/10.1.0.0/16".into()];
    client.handle_response(NOW, stream, response(ADDRESS, "2", vec![service], &[]));
    assert_eq!(answered(&mut client), [(5, Answer::Rejected)]);
}

#[test]
fn a_demand_survives_a_lost_stream_and_one_that_is_cancelled_does_not() {
    let mut client = client(Subscription::OnDemand);
    let stream = open(&mut client, NOW);
    client.handle_response(NOW, stream, response(ADDRESS, "1", vec![good("uid", "4")], &[]));
    client.demand("/10.0.0.1", Waiter(1)).unwrap();
    client.demand("/10.0.0.2", Waiter(2)).unwrap();
    client.cancel(Waiter(2));
    client.handle_closed(NOW, stream, Ending::Complete);
    assert!(!client.has_request());
    let stream = open(&mut client, NOW);
    let first = requests(&mut client);
    assert_eq!(first.len(), 2, "nothing is asked for twice: {first:?}");
    let expected = [("/10.0.0.1", ""), ("uid", "4")].map(|(name, v)| (name.to_string(), v.to_string()));
    assert_eq!(versions(&first[0]), expected);
    client.handle_response(NOW, stream, response(ADDRESS, "1", vec![], &["/10.0.0.1", "/10.0.0.2"]));
    assert_eq!(answered(&mut client), [(1, Answer::Absent)]);
}

#[test]
fn nothing_can_be_demanded_when_everything_is_subscribed() {
    let mut client = client(Subscription::Wildcard);
    assert_eq!(client.demand("a", Waiter(1)), Err(DemandError::NotOnDemand));
    let mut client = super::client(Subscription::OnDemand);
    assert_eq!(client.demand(&"x".repeat(1025), Waiter(1)), Err(DemandError::KeyTooLong));
}

/// The delay after `ending`, and the reason.
fn end(client: &mut Client, fruitful: bool, ending: Ending<'_>) -> (Reason, Duration) {
    let stream = open(client, NOW);
    if fruitful {
        client.handle_response(NOW, stream, response(POLICY, "1", vec![], &[]));
    }
    client.handle_closed(NOW, stream, ending);
    let Some(Event::Ended { reason, retry_in }) = events(client).pop() else { panic!("no end") };
    assert_eq!(client.poll_timeout(), (!retry_in.is_zero()).then(|| NOW + retry_in));
    client.handle_timeout(NOW + retry_in);
    (reason, retry_in)
}

#[test]
fn delays_and_reasons_follow_the_table() {
    let failing = Ending::Status { code: 16, message: "who are you" };
    for (ending, reason) in [(Ending::CouldNotOpen, Reason::ConnectionError), (failing, Reason::Error)] {
        let mut client = client(Subscription::Wildcard);
        let mut full = Duration::from_millis(20);
        for _ in 0..15 {
            let (given, delay) = end(&mut client, true, ending);
            assert_eq!(given, reason);
            assert!(delay >= full / 2 && delay <= full, "{delay:?} of {full:?}");
            full = Duration::from_secs(15).min(full * 2);
        }
        assert_eq!(full, Duration::from_secs(15));
        let again = Ending::Status { code: 14, message: "the transport is closing now" };
        assert_eq!(end(&mut client, true, again), (Reason::Reconnect, Duration::from_millis(10)));
        assert!(end(&mut client, true, ending).1 <= Duration::from_millis(20));
    }
    let mut client = client(Subscription::Wildcard);
    for code in [1, 2, 4] {
        let ending = Ending::Status { code, message: "" };
        assert_eq!(end(&mut client, false, ending), (Reason::Reconnect, Duration::from_millis(10)));
    }
    let plain = Ending::Status { code: 14, message: "connection reset" };
    assert_eq!(end(&mut client, true, plain).0, Reason::Error);
    assert_eq!(end(&mut client, true, Ending::Complete), (Reason::Complete, Duration::ZERO));
    assert_eq!(end(&mut client, true, Ending::Failed), (Reason::Error, Duration::ZERO));
}

#[test]
fn streams_that_bring_nothing_are_not_opened_in_a_busy_loop() {
    let mut client = client(Subscription::Wildcard);
    let last = (0..12).map(|_| end(&mut client, false, Ending::Complete).1).last();
    assert!(last >= Some(Duration::from_millis(7500)), "{last:?}");
}

#[test]
fn a_stream_that_lived_long_starts_the_delays_anew() {
    let mut client = client(Subscription::Wildcard);
    for _ in 0..12 {
        end(&mut client, false, Ending::CouldNotOpen);
    }
    let stream = open(&mut client, NOW);
    let later = NOW + Duration::from_secs(60);
    client.handle_closed(later, stream, Ending::Status { code: 13, message: "" });
    let retry = client.poll_timeout().expect("a delay").saturating_since(later);
    assert!(retry <= Duration::from_millis(20), "{retry:?}");
}

#[test]
fn what_is_said_about_an_earlier_stream_is_ignored() {
    let mut client = client(Subscription::Wildcard);
    let first = open(&mut client, NOW);
    client.handle_response(NOW, first, response(POLICY, "1", vec![], &[]));
    client.handle_closed(NOW, first, Ending::Complete);
    let second = open(&mut client, NOW);
    requests(&mut client);
    client.handle_closed(NOW, first, Ending::Complete);
    client.handle_connected(NOW, first);
    client.handle_response(NOW, first, response(ADDRESS, "1", vec![good("late", "1")], &[]));
    assert!(client.is_current(second) && !client.is_current(first) && !client.has_request());
    assert!(!client.is_synced());
}

#[test]
fn a_server_that_reads_no_answers_is_not_read_from() {
    let mut client = client(Subscription::Wildcard);
    let stream = open(&mut client, NOW);
    let mut taken = 0;
    while client.wants_response() {
        client.handle_response(NOW, stream, response(ADDRESS, "1", vec![], &[]));
        taken += 1;
    }
    assert_eq!(taken, 98);
    assert!(client.poll_request().is_some() && client.wants_response());
}

#[test]
fn staleness_tells_streams_from_pushes() {
    let mut client = client(Subscription::Wildcard);
    let second = Duration::from_secs(1);
    assert_eq!(client.staleness(Instant::ZERO + second).without_stream, Some(second));
    assert_eq!(client.staleness(NOW).since_push, None);
    let stream = open(&mut client, NOW);
    assert_eq!(client.staleness(NOW).without_stream, None);
    client.handle_response(NOW, stream, response(ADDRESS, "1", vec![bad("a", "odd")], &[]));
    assert_eq!(client.staleness(NOW).since_push, None);
    client.handle_response(NOW, stream, response(ADDRESS, "1", vec![good("a", "1"), bad("b", "odd")], &[]));
    client.handle_closed(NOW + second, stream, Ending::Complete);
    let stale = client.staleness(NOW + second + second);
    assert_eq!((stale.without_stream, stale.since_push), (Some(second), Some(second * 2)));
}
