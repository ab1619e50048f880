//! What outbound decisions lack.
use super::*;

#[test]
fn nothing_is_asked_for_unless_discovery_is_on_demand() {
    let mut shard = shard(ALONE, |_| {});
    capture(&mut shard, 1, "10.0.0.5:80").expect("accepted");
    assert_eq!(dials(&actions(&mut shard)), ["10.0.0.5:80"]);
}

#[test]
fn an_unknown_target_is_asked_for_once_and_decided_then() {
    let mut shard = shard(ALONE, on_demand);
    for port in 1..=3 {
        capture(&mut shard, port, "10.0.0.5:80").expect("accepted");
    }
    capture(&mut shard, 4, "10.0.0.6:80").expect("accepted");
    let asked = questions(&mut shard);
    let [(five, ref key), (six, ref other)] = asked[..] else { panic!("{asked:?}") };
    assert_eq!((key.as_str(), other.as_str()), ("/10.0.0.5", "/10.0.0.6"));
    // Not there: it is passed through, and nothing is asked again.
    shard.handle_demanded(START, six, Ok(()));
    assert_eq!(dials(&actions(&mut shard)), ["10.0.0.6:80"]);
    // There: who waits need not wait for the answer when the tables have come, and the answer is late then.
    shard.handle_mesh(START, found());
    assert_eq!(dials(&actions(&mut shard)).len(), 3);
    let names: Vec<_> = observed(&mut shard)
        .into_iter()
        .filter_map(|observed| match observed {
            Observed::ConnectionOpened(opened) => Some(opened.destination.workload.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(names, [None, Some("pod".into()), Some("pod".into()), Some("pod".into())]);
    shard.handle_demanded(START, five, Ok(()));
    assert_eq!((actions(&mut shard), shard.connections()), (vec![], 4));
}

#[test]
fn what_nobody_speaks_for_is_not_sent_in_plaintext() {
    let cases = [
        Some(Unanswered::NoSource),
        Some(Unanswered::Rejected),
        Some(Unanswered::Refused("no".into())),
        None,
    ];
    for answer in cases {
        let mut shard = shard(ALONE, on_demand);
        capture(&mut shard, 1, "10.0.0.5:80").expect("accepted");
        let ticket = questions(&mut shard)[0].0;
        match &answer {
            Some(error) => shard.handle_demanded(START, ticket, Err(error.clone())),
            None => {
                shard.handle_timeout(START + Duration::from_millis(4_999));
                assert_eq!(shard.connections(), 1);
                shard.handle_timeout(START + Duration::from_secs(5));
            }
        }
        let error = answer.unwrap_or(Unanswered::TimedOut(Duration::from_secs(5)));
        assert_eq!(errors(&mut shard), [error.to_string()]);
        let left = actions(&mut shard);
        assert!(matches!(left[..], [Action::Close { .. }]), "{left:?}");
    }
    // Nor when too many are asked for.
    let mut shard = shard(ALONE, |config| (config.on_demand, config.max_questions) = (true, 1));
    capture(&mut shard, 1, "10.0.0.5:80").expect("accepted");
    assert!(capture(&mut shard, 2, "10.0.0.6:80").is_none());
    assert_eq!(errors(&mut shard), [Unanswered::Full.to_string()]);
}

#[test]
fn a_chain_is_followed_and_each_link_asked_for_once() {
    let mut shard = shard(ALONE, on_demand);
    capture(&mut shard, 1, "10.0.0.5:80").expect("accepted");
    let behind = |more: &str| {
        parse(&ALONE.replace(
            "workloads:",
            &format!(
                "workloads:
- {{uid: p, name: pod, namespace: ns, serviceAccount: pod, workloadIps: [10.0.0.5], services: {{}}, protocol: HBONE, waypoint: {{destination: /10.0.0.9, hboneMtlsPort: 15008}}}}{more}"
            ),
        ))
    };
    let (ticket, _) = questions(&mut shard)[0];
    shard.handle_mesh(START, behind(""));
    shard.handle_demanded(START, ticket, Ok(()));
    let asked = questions(&mut shard);
    let [(ticket, ref key)] = asked[..] else { panic!("{asked:?}") };
    assert_eq!(key, "/10.0.0.9");
    // The tables change meanwhile, and say nothing about it.
    shard.handle_mesh(START, behind(""));
    assert!(questions(&mut shard).is_empty());
    shard.handle_demanded(START, ticket, Ok(()));
    assert!(questions(&mut shard).is_empty(), "a key is asked for once by a connection");
    let error = errors(&mut shard).concat();
    assert!(error.starts_with("unknown waypoint: waypoint ") && !error.contains("control plane"), "{error}");
    // Unanswered, the text says so too.
    capture(&mut shard, 2, "10.0.0.5:80").expect("accepted");
    let ticket = questions(&mut shard)[0].0;
    shard.handle_demanded(START, ticket, Err(Unanswered::GivenUp));
    let error = errors(&mut shard).concat();
    assert!(error.starts_with("unknown waypoint: ") && error.contains("gave the question up"), "{error}");
}
