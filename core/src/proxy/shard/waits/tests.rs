//! The table of open questions: scripts, and a law over any sequence of calls.
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::mesh::ServiceName;

const PATIENCE: Duration = Duration::from_secs(5);

fn conn(index: u32) -> ConnId {
    ConnId { index, generation: 0 }
}

fn name(text: &str) -> (Queue, Question) {
    (Queue::Names, Question::Name(ProxyId::OWN, text.into(), NameScope::Outside))
}

fn at(seconds: u64) -> Instant {
    Instant::from_millis(seconds * 1_000)
}

#[test]
fn a_question_is_put_once_and_shared_until_it_is_closed() {
    let mut waits = Waits::default();
    let (ticket, new) = waits.join(at(0), name("a"), (PATIENCE, 1), conn(1)).unwrap();
    assert!(new);
    assert_eq!(waits.join(at(3), name("a"), (PATIENCE, 1), conn(2)), Ok((ticket, false)));
    // The same name by another meaning is another question, and one too many.
    let other = (Queue::Names, Question::Name(ProxyId::OWN, "a".into(), NameScope::Workload));
    assert_eq!(waits.join(at(3), other.clone(), (PATIENCE, 1), conn(3)), Err(Full));
    // Another queue has room of its own.
    let host = ServiceName { namespace: "ns".into(), hostname: "b".into() };
    let resource = (Queue::Inbound, Question::Resource(Missing::Host(host)));
    assert!(waits.join(at(3), resource, (PATIENCE, 1), conn(4)).is_ok());
    assert_eq!(waits.poll_timeout(), Some(at(5)), "whoever joins does not prolong it");

    waits.leave(ticket, conn(1));
    let closed = waits.close(ticket).unwrap();
    assert_eq!(closed.waiting.into_iter().collect::<Vec<_>>(), [conn(2)]);
    assert!(waits.close(ticket).is_none() && waits.question(ticket).is_none(), "a late answer finds nothing");
    assert!(waits.join(at(4), other, (PATIENCE, 1), conn(3)).unwrap().1, "there is room again");
}

#[test]
fn a_question_that_nobody_waits_for_counts_until_its_deadline() {
    let mut waits = Waits::default();
    let (ticket, _) = waits.join(at(0), name("a"), (PATIENCE, 1), conn(1)).unwrap();
    waits.leave(ticket, conn(1));
    assert_eq!(waits.join(at(1), name("b"), (PATIENCE, 1), conn(2)), Err(Full));
    assert!(waits.expire(at(4)).is_none());
    assert!(waits.expire(at(5)).unwrap().waiting.is_empty());
    assert_eq!((waits.poll_timeout(), waits.counts[&Queue::Names]), (None, 0));
    assert!(waits.join(at(5), name("b"), (PATIENCE, 1), conn(2)).is_ok());
}

#[derive(Clone, Copy, Debug)]
enum Call {
    Join(u8, u32),
    Leave(u8, u32),
    Answer(u8),
    Pass(u64),
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        4 => (0..6_u8, 0..40_u32).prop_map(|(question, conn)| Call::Join(question, conn)),
        2 => (0..6_u8, 0..40_u32).prop_map(|(question, conn)| Call::Leave(question, conn)),
        1 => (0..6_u8).prop_map(Call::Answer),
        1 => (0..4_u64).prop_map(Call::Pass),
    ]
}

proptest! {
    /// Whoever waits is answered exactly once or leaves, no later than the deadline; no more questions than allowed are
    /// open, and none is put while it is.
    #[test]
    fn everybody_who_waits_is_answered_once_or_leaves(calls in prop::collection::vec(call(), 0..200)) {
        const MOST: usize = 4;
        let mut waits = Waits::default();
        let (mut now, mut open) = (0, BTreeMap::<u8, (Ticket, u64, BTreeSet<ConnId>)>::new());
        let mut dead = Vec::new();
        for call in calls {
            match call {
                Call::Join(question, id) => {
                    let text = std::format!("{question}");
                    let joined = waits.join(at(now), name(&text), (PATIENCE, MOST), conn(id));
                    let full = open.len() == MOST;
                    match open.get_mut(&question) {
                        Some((ticket, _, waiting)) => {
                            prop_assert_eq!(joined, Ok((*ticket, false)));
                            waiting.insert(conn(id));
                        }
                        None if full => prop_assert_eq!(joined, Err(Full)),
                        None => {
                            let (ticket, new) = joined.unwrap();
                            prop_assert!(new && !dead.contains(&ticket));
                            open.insert(question, (ticket, now + 5, [conn(id)].into()));
                        }
                    }
                }
                Call::Leave(question, id) => {
                    if let Some((ticket, _, waiting)) = open.get_mut(&question) {
                        waiting.remove(&conn(id));
                        waits.leave(*ticket, conn(id));
                    }
                }
                Call::Answer(question) => {
                    if let Some((ticket, _, waiting)) = open.remove(&question) {
                        prop_assert_eq!(waits.close(ticket).unwrap().waiting, waiting);
                        dead.push(ticket);
                    }
                }
                Call::Pass(seconds) => {
                    now += seconds;
                    while let Some(closed) = waits.expire(at(now)) {
                        let Question::Name(_, text, _) = closed.question else { unreachable!() };
                        let (ticket, deadline, waiting) = open.remove(&text.parse::<u8>().unwrap()).unwrap();
                        prop_assert!(deadline <= now);
                        prop_assert_eq!(closed.waiting, waiting);
                        dead.push(ticket);
                    }
                }
            }
            prop_assert!(open.values().all(|(_, deadline, _)| *deadline > now || !matches!(call, Call::Pass(_))));
            prop_assert_eq!(waits.poll_timeout(), open.values().map(|(_, deadline, _)| at(*deadline)).min());
            prop_assert!(dead.iter().all(|ticket| waits.question(*ticket).is_none()));
        }
    }
}
