//! What finding the rule for a request costs at 1, 100 and 1000 routes, and building their table.
//!
//! `exact`, `paths`: a path or prefix each, the request is the last one's. `nobody`: the same, and none is for it. `conditions`:
//! the same, with a method, a header and a query parameter besides. `headers`, `queries`: all have one path, and a value of a
//! header or query parameter each; `methods`: likewise, with two methods for each value; `no-header`: none is for the request.
//! `versions`: ten values of a header for each of a hundred of another. `regexes`: an expression each. `endings`: an expression
//! each, and none begins with letters: the worst that can be, as each is tried.
use std::sync::Arc;

use adit_core::l7::{
    Action, Backends, Forward, HeaderChanges, Kind, Named, PathMatch, Prefix, Regex, Request, Route, RouteId,
    RouteMatch, Rule, Scheme, Table, TextMatch,
};
use adit_core::time::UnixTime;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

#[path = "common/counting.rs"]
mod counting;

const COUNTS: [usize; 3] = [1, 100, 1000];

/// A request of a browser's, more or less: it has some headers that nobody asks for.
struct Asked {
    path: &'static str,
    headers: http::HeaderMap,
}

impl Asked {
    fn new(path: &'static str) -> Self {
        let headers = [
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"),
            ("accept", "*/*"),
            ("accept-encoding", "gzip, br"),
            ("x-team", "team-999"),
            ("x-version", "9"),
            ("x-request-id", "1f7a5f0e-5c7c-9a0e-8f4e-2f9f1c1f7a5f"),
            ("cookie", "session=0123456789abcdef"),
        ];
        let headers = headers.into_iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
        });
        Self { path, headers: headers.collect() }
    }
}

impl Request for Asked {
    fn method(&self) -> &str {
        "GET"
    }

    fn scheme(&self) -> Scheme {
        Scheme::Http
    }

    fn authority(&self) -> &str {
        "shop.default.svc.cluster.local"
    }

    fn path(&self) -> &str {
        self.path
    }

    fn query(&self) -> Option<&str> {
        Some("page=2&sort=name")
    }

    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.get_all(name).into_iter().map(http::HeaderValue::as_bytes)
    }
}

fn route(number: usize, matched: RouteMatch) -> Arc<Route> {
    let action = Action::Forward(Forward { backends: Backends::default(), ..Forward::default() });
    let rule =
        Rule { name: None, matches: vec![matched], response: HeaderChanges::default(), cors: None, action };
    let id =
        RouteId { kind: Kind::Http, namespace: "default".into(), name: format!("route-{number}").into() };
    Arc::new(Route { id, created: UnixTime(0), parents: vec![], rules: vec![rule] })
}

fn prefix(text: &str) -> Option<PathMatch> {
    Some(PathMatch::Prefix(Prefix::new(text).expect("a path")))
}

fn named(name: &str, value: String) -> Vec<Named> {
    vec![Named { name: name.into(), value: TextMatch::Exact(value.into()) }]
}

fn paths(number: usize) -> RouteMatch {
    RouteMatch::http(prefix(&format!("/shop/team-{number}")), None, vec![], vec![])
}

fn exact(number: usize) -> RouteMatch {
    let path = PathMatch::Exact(format!("/shop/team-{number}/items/42").into());
    RouteMatch::http(Some(path), None, vec![], vec![])
}

fn conditions(number: usize) -> RouteMatch {
    let path = prefix(&format!("/shop/team-{number}"));
    let (header, query) = (named("accept", "*/*".into()), named("page", "2".into()));
    RouteMatch::http(path, Some("GET"), header, query)
}

fn headers(number: usize) -> RouteMatch {
    RouteMatch::http(prefix("/shop"), None, named("x-team", format!("team-{number}")), vec![])
}

fn methods(number: usize) -> RouteMatch {
    let method = if number % 2 == 1 { "GET" } else { "POST" };
    // The last two have one value: the request's.
    let header = named("x-team", format!("team-{}", number / 2 + 500));
    RouteMatch::http(prefix("/shop"), Some(method), header, vec![])
}

fn queries(number: usize) -> RouteMatch {
    RouteMatch::http(prefix("/shop"), None, vec![], named("page", (1001 - number).to_string()))
}

fn versions(number: usize) -> RouteMatch {
    let headers = [
        named("x-team", format!("team-{}", number / 10 + 900)),
        named("x-version", (number % 10).to_string()),
    ];
    RouteMatch::http(prefix("/shop"), None, headers.concat(), vec![])
}

fn regex(text: &str) -> RouteMatch {
    let regex = Regex::new(text).expect("an expression");
    RouteMatch::http(Some(PathMatch::Regex(regex)), None, vec![], vec![])
}

fn regexes(number: usize) -> RouteMatch {
    regex(&format!("/shop/team-{number}/[a-z]+/[0-9]+"))
}

fn endings(number: usize) -> RouteMatch {
    regex(&format!(".*[.]team-{number}"))
}

fn finding(criterion: &mut Criterion) {
    type Case = (&'static str, fn(usize) -> RouteMatch, &'static str, bool);
    let cases: [Case; 11] = [
        ("exact", exact, "/shop/team-999/items/42", true),
        ("paths", paths, "/shop/team-999/items/42", true),
        ("nobody", paths, "/shop/team-none/items/42", false),
        ("conditions", conditions, "/shop/team-999/items/42", true),
        ("headers", headers, "/shop/items/42", true),
        ("no-header", |number| headers(number + 1000), "/shop/items/42", false),
        ("methods", methods, "/shop/items/42", true),
        ("queries", queries, "/shop/items/42", true),
        ("versions", versions, "/shop/items/42", true),
        ("regexes", regexes, "/shop/team-999/items/42", true),
        ("endings", endings, "/shop/items/42.team-999", true),
    ];
    let mut group = criterion.benchmark_group("routes");
    for (name, matched, path, is_found) in cases {
        for count in COUNTS {
            // The last one always is number 999, whom the request is for.
            let table = Table::new((1000 - count..1000).map(|number| route(number, matched(number))));
            let asked = Asked::new(path);
            assert_eq!(table.find(&asked).is_some(), is_found, "{name} {count}");
            // The first look has made what expressions keep.
            let before = counting::allocations();
            _ = table.find(std::hint::black_box(&asked));
            assert_eq!(counting::allocations(), before, "{name} {count}: finding a rule allocates nothing");
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| table.find(std::hint::black_box(&asked)).is_some());
            });
        }
    }
    let routes: Vec<_> = (0..1000).map(|number| route(number, paths(number))).collect();
    group.bench_function(BenchmarkId::new("build", 1000), |bencher| {
        bencher.iter(|| Table::new(routes.iter().cloned()));
    });
    group.finish();
}

criterion_group!(benches, finding);
criterion_main!(benches);
