//! What judging one connection costs at 1, 100 and 1000 policies that bear on one workload, and building the set.
//!
//! `listed`: ALLOW policies as istiod writes them, a port and two principals each; the connection is the last one's.
//! `nobody`: the same, and no policy admits it. `strict`: DENY policies against plaintext with exempt ports, none of which
//! hits. `mixed`: every field, prefixes, suffixes, ranges and negations, all of which hit in part.
use adit_core::identity::Identity;
use adit_core::mesh::{Mesh, PolicyScope, ServiceAccount, StringMatch, Workload};
use adit_core::policy::{Action, Authorization, Clause, Facts, Match, PolicySet, Rule, Verdict};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

const COUNTS: [usize; 3] = [1, 100, 1000];

fn policy(number: usize, action: Action, clauses: Vec<Vec<Match>>) -> Authorization {
    Authorization {
        namespace: "default".into(),
        name: format!("policy-{number}").into(),
        scope: PolicyScope::Namespace,
        action,
        rules: vec![Rule { clauses: clauses.into_iter().map(|matches| Clause { matches }).collect() }],
        dry_run: false,
    }
}

fn exact(text: String) -> StringMatch {
    StringMatch::Exact(text.into())
}

fn port(port: u16) -> Match {
    Match { destination_ports: vec![port], ..Match::default() }
}

fn listed(number: usize) -> Authorization {
    let principal = |account| exact(format!("cluster.local/ns/team-{number}/sa/{account}"));
    let from = Match { principals: vec![principal("web"), principal("job")], ..Match::default() };
    policy(number, Action::Allow, vec![vec![port(8080)], vec![from]])
}

fn strict(number: usize) -> Authorization {
    let plaintext = Match { not_principals: vec![StringMatch::Presence], ..Match::default() };
    let exempt = (0..4).map(|n| {
        let exempt = 9000 + u16::try_from(number * 4 + n).unwrap_or(0);
        vec![Match { not_destination_ports: vec![exempt], ..Match::default() }]
    });
    policy(number, Action::Deny, std::iter::once(vec![plaintext]).chain(exempt).collect())
}

fn mixed(number: usize) -> Authorization {
    let n = u8::try_from(number % 250).unwrap_or(0);
    let team = format!("team-{number}");
    let from = match number % 6 {
        0 => Match {
            namespaces: vec![StringMatch::Prefix("team-".into())],
            not_namespaces: vec![exact("team-999".into())],
            ..Match::default()
        },
        1 => Match { principals: vec![StringMatch::Suffix(format!("/{team}").into())], ..Match::default() },
        2 => {
            Match { source_ips: vec![format!("10.{n}.0.0/16").parse().expect("a range")], ..Match::default() }
        }
        3 => Match { not_source_ips: vec!["10.0.0.0/8".parse().expect("a range")], ..Match::default() },
        4 => Match {
            service_accounts: vec![ServiceAccount { namespace: team.into(), service_account: "web".into() }],
            ..Match::default()
        },
        _ => Match {
            principals: vec![StringMatch::Prefix("cluster.local/ns/".into())],
            not_destination_ports: vec![8080],
            ..Match::default()
        },
    };
    policy(number, Action::Deny, vec![vec![port(8080)], vec![from]])
}

fn judging(criterion: &mut Criterion) {
    let workload = Workload::new(
        "u",
        "server",
        Identity::new("cluster.local", "default", "server").expect("an identity"),
    );
    let last = Identity::new("cluster.local", "team-999", "web").expect("an identity");
    let stranger = Identity::new("cluster.local", "nowhere", "web").expect("an identity");
    type Case<'a> = (&'a str, fn(usize) -> Authorization, &'a Identity, bool);
    let cases: [Case<'_>; 4] = [
        ("listed", listed, &last, true),
        ("nobody", listed, &stranger, false),
        ("strict", strict, &last, true),
        ("mixed", mixed, &last, true),
    ];
    let mut group = criterion.benchmark_group("policy");
    for (name, policy, source, admitted) in cases {
        for count in COUNTS {
            // The last one always is number 999, whom the connection is about.
            let policies = (1000 - count..1000).map(policy).collect();
            let mesh = Mesh::new("".into(), vec![], vec![], policies).expect("a mesh");
            let set = PolicySet::new(&mesh, &workload);
            let facts = Facts {
                source: Some(source),
                source_address: "10.251.1.7:40000".parse().expect("an address"),
                destination: "10.0.2.9:8080".parse().expect("an address"),
            };
            assert_eq!(matches!(set.judge(&facts), Verdict::Allow { .. }), admitted, "{name} {count}");
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| set.judge(std::hint::black_box(&facts)));
            });
        }
    }
    for count in COUNTS {
        let policies = (1000 - count..1000).map(listed).collect();
        let mesh = Mesh::new("".into(), vec![], vec![], policies).expect("a mesh");
        group.bench_function(BenchmarkId::new("build", count), |bencher| {
            bencher.iter(|| PolicySet::new(&mesh, &workload));
        });
        let set = PolicySet::new(&mesh, &workload);
        group.bench_function(BenchmarkId::new("is_current", count), |bencher| {
            bencher.iter(|| set.is_current(&mesh, &workload));
        });
    }
    group.finish();
}

criterion_group!(benches, judging);
criterion_main!(benches);
