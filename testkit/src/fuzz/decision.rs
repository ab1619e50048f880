//! Routes of a small grammar and a request for them: the rule that compiled routes find is the one that comparing everything with
//! everything finds (Gateway API: `HTTPRouteRule.matches`), and an explanation ends with it.
use std::cmp::Reverse;
use std::sync::Arc;

use adit_control::resources::{Object, Objects, World, compile};
use adit_core::l7::{Action, Request, Rules, Scheme};
use adit_core::rng::Rng;
use serde_json::{Value, json};

use super::Choices;

const PATHS: [&str; 8] = ["/", "/a", "/a/", "/a/b", "/ab", "/a/b/c", "/b", "/b/a/"];
const METHODS: [&str; 3] = ["GET", "POST", "DELETE"];
const NAMES: [&str; 3] = ["x", "y", "z"];
const VALUES: [&str; 2] = ["1", "2"];

/// Names and values, each name once.
type Pairs = Vec<(&'static str, &'static str)>;

struct Match {
    /// Whether it is all of the path, and what.
    path: Option<(bool, &'static str)>,
    method: Option<&'static str>,
    headers: Pairs,
    queries: Pairs,
}

struct Route {
    name: String,
    /// A day of January.
    created: u8,
    /// No match is for everything.
    rules: Vec<Vec<Match>>,
}

struct Asked {
    method: &'static str,
    path: &'static str,
    headers: Pairs,
    queries: Pairs,
    query: Option<String>,
}

impl Request for Asked {
    fn method(&self) -> &str {
        self.method
    }

    fn scheme(&self) -> Scheme {
        Scheme::Http
    }

    fn authority(&self) -> &str {
        "echo"
    }

    fn path(&self) -> &str {
        self.path
    }

    fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(found, _)| *found == name).map(|(_, value)| value.as_bytes())
    }
}

fn one<T: Copy>(choices: &mut Choices<'_>, of: &[T]) -> T {
    of[usize::from(choices.octet()) % of.len()]
}

fn pairs(choices: &mut Choices<'_>) -> Pairs {
    let which = choices.octet();
    NAMES
        .iter()
        .enumerate()
        .filter(|(n, _)| which >> n & 1 == 1)
        .map(|(n, name)| (*name, VALUES[usize::from(which >> (n + 3) & 1)]))
        .collect()
}

fn matched(choices: &mut Choices<'_>) -> Match {
    let what = choices.octet();
    Match {
        path: (what & 3 > 0).then(|| (what & 3 == 1, one(choices, &PATHS))),
        method: (what & 4 > 0).then(|| one(choices, &METHODS)),
        headers: if what & 8 > 0 { pairs(choices) } else { Vec::new() },
        queries: if what & 16 > 0 { pairs(choices) } else { Vec::new() },
    }
}

fn routes(choices: &mut Choices<'_>) -> Vec<Route> {
    let count = 1 + choices.octet() % 4;
    let route = |number: u8| {
        let created = 1 + choices.octet() % 3;
        let rules = 1 + choices.octet() % 3;
        let rule = |choices: &mut Choices<'_>| (0..choices.octet() % 3).map(|_| matched(choices)).collect();
        Route {
            name: format!("r{}", number ^ 2),
            created,
            rules: (0..rules).map(|_| rule(choices)).collect(),
        }
    };
    (0..count).map(route).collect()
}

fn asked(choices: &mut Choices<'_>) -> Asked {
    let (method, path) = (one(choices, &METHODS), one(choices, &PATHS));
    let (headers, queries) = (pairs(choices), pairs(choices));
    let texts: Vec<_> = queries.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let query = (!texts.is_empty()).then(|| texts.join("&"));
    Asked { method, path, headers, queries, query }
}

impl Match {
    fn manifest(&self) -> Value {
        let pairs = |pairs: &Pairs| -> Vec<_> {
            pairs.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
        };
        let mut manifest = json!({});
        if let Some((exact, path)) = self.path {
            manifest["path"] = json!({ "type": if exact { "Exact" } else { "PathPrefix" }, "value": path });
        }
        if let Some(method) = self.method {
            manifest["method"] = json!(method);
        }
        if !self.headers.is_empty() {
            manifest["headers"] = pairs(&self.headers).into();
        }
        if !self.queries.is_empty() {
            manifest["queryParams"] = pairs(&self.queries).into();
        }
        manifest
    }

    /// The path as segments of a prefix; without one it is that of everything.
    fn prefix(&self) -> &'static str {
        self.path.map_or("", |(_, path)| path.strip_suffix('/').unwrap_or(path))
    }

    fn holds(&self, asked: &Asked) -> bool {
        let path = match self.path {
            Some((true, path)) => asked.path == path,
            // `/a` is a prefix of `/a` and of `/a/…`.
            _ => asked.path == self.prefix() || asked.path.starts_with(&format!("{}/", self.prefix())),
        };
        let all = |wanted: &Pairs, there: &Pairs| wanted.iter().all(|pair| there.contains(pair));
        path && self.method.is_none_or(|method| method == asked.method)
            && all(&self.headers, &asked.headers)
            && all(&self.queries, &asked.queries)
    }

    /// What is less comes first.
    fn rank(&self) -> impl Ord + use<> {
        let exact = matches!(self.path, Some((true, _)));
        let length = if exact { 0 } else { self.prefix().len() };
        (
            Reverse(exact),
            Reverse(length),
            self.method.is_none(),
            Reverse(self.headers.len()),
            Reverse(self.queries.len()),
        )
    }
}

fn manifest(route: &Route) -> Value {
    let rule = |matches: &Vec<Match>| {
        let matches: Vec<_> = matches.iter().map(Match::manifest).collect();
        let backends = json!([{ "name": "echo", "port": 80 }]);
        if matches.is_empty() {
            json!({ "backendRefs": backends })
        } else {
            json!({ "matches": matches, "backendRefs": backends })
        }
    };
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {
            "name": route.name, "namespace": "default",
            "creationTimestamp": format!("2024-01-0{}T00:00:00Z", route.created),
        },
        "spec": {
            "parentRefs": [{ "group": "", "kind": "Service", "name": "echo" }],
            "rules": route.rules.iter().map(rule).collect::<Vec<_>>(),
        },
    })
}

/// The route and the number of its rule for a request: of all that hold, the first in the API's order.
fn expected<'a>(routes: &'a [Route], asked: &Asked) -> Option<(&'a str, usize)> {
    let everything = Match { path: None, method: None, headers: Vec::new(), queries: Vec::new() };
    let mut all = Vec::new();
    for route in routes {
        for (number, matches) in route.rules.iter().enumerate() {
            let matches = if matches.is_empty() { std::slice::from_ref(&everything) } else { matches };
            let holding = matches.iter().filter(|matched| matched.holds(asked));
            all.extend(holding.map(|matched| (matched.rank(), route.created, &*route.name, number)));
        }
    }
    all.into_iter().min().map(|(_, _, name, number)| (name, number))
}

/// The file's octets are choices.
pub fn body(data: &[u8]) {
    let mut choices = Choices::new(data);
    let routes = routes(&mut choices);
    let mut objects: Vec<_> =
        routes.iter().map(|route| Arc::new(Object::new(manifest(route)).expect("an object"))).collect();
    let turn = usize::from(choices.octet()) % objects.len();
    objects.rotate_left(turn);
    let world = World::new("default", "waypoint");
    let compiled = compile(&objects.into_iter().collect::<Objects>(), &world);
    assert!(compiled.problems.is_empty(), "{:?}", compiled.problems);
    let frontends = &compiled.snapshot.frontends;
    let Some(Rules::Requests(table)) = frontends.rules(&world.service("default", "echo"), 80, Some("other"))
    else {
        panic!("there are routes for requests");
    };
    for _ in 0..4 {
        let asked = asked(&mut choices);
        let found = table.find(&asked);
        let place = found.as_ref().map(|found| {
            let rule = found.route.rules.iter().position(|rule| std::ptr::eq(rule, found.rule));
            (&*found.route.id.name, rule.expect("a rule of its route"))
        });
        let texts = routes.iter().map(|route| manifest(route).to_string()).collect::<Vec<_>>();
        let told =
            || format!("{} {} {:?} {:?} {texts:#?}", asked.method, asked.path, asked.query, asked.headers);
        assert_eq!(place, expected(&routes, &asked), "{}", told());
        let last = table.explain(&asked).last();
        let explained = last.and_then(|(found, checked)| checked.is_ok().then_some(found));
        assert_eq!(explained, found, "{}", told());
        if let Some(found) = found {
            let Action::Forward(forward) = &found.rule.action else { panic!("{:?}", found.rule.action) };
            let (_, target) = forward.backends.draw(&mut Rng::new(1)).expect("a backend");
            assert_eq!(target.port, 80);
        }
    }
}
