//! Which requests a rule is for, and which of several rules that are for one request is taken (Gateway API:
//! `HTTPRouteMatch`, `GRPCRouteMatch`).
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use super::facts::{Fact, header, parameter};
use super::path::{PathMatch, Prefix};
use super::request::Request;
use super::text::TextMatch;

/// A condition on one header or query parameter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Named {
    /// Its name; of a header in lower case.
    pub name: Box<str>,
    /// What its value must be.
    pub value: TextMatch,
}

impl Named {
    /// Whether the header of this name is there and right.
    pub(super) fn holds_header(&self, request: &impl Request) -> bool {
        header(request, &self.name).is_some_and(|value| self.value.matches(&value))
    }

    /// Whether the first query parameter of this name is there and right.
    pub(super) fn holds_query(&self, request: &impl Request) -> bool {
        parameter(request.query(), &self.name).is_some_and(|value| self.value.matches(&value))
    }
}

/// A condition that Gateway API does not have (Istio: `HTTPMatchRequest`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `Host` or `:authority` is this.
    Authority(TextMatch),
    /// The scheme is this.
    Scheme(TextMatch),
    /// The method is this.
    Method(TextMatch),
    /// It has this header, whatever its value; a name in lower case.
    Present(Box<str>),
    /// It has no such header (`withoutHeaders`); without a value, it has none of this name in lower case.
    Without(Box<str>, Option<TextMatch>),
    /// It has this query parameter, whatever its value.
    Query(Box<str>),
}

impl Condition {
    fn holds(&self, request: &impl Request) -> bool {
        match self {
            Self::Authority(wanted) => wanted.matches(request.authority().as_bytes()),
            Self::Scheme(wanted) => wanted.matches(request.scheme().as_str().as_bytes()),
            Self::Method(wanted) => wanted.matches(request.method().as_bytes()),
            Self::Present(name) => header(request, name).is_some(),
            Self::Without(name, None) => header(request, name).is_none(),
            Self::Without(name, Some(value)) => header(request, name).is_none_or(|it| !value.matches(&it)),
            Self::Query(name) => parameter(request.query(), name).is_some(),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authority(wanted) => write!(f, "the authority is {wanted}"),
            Self::Scheme(wanted) => write!(f, "the scheme is {wanted}"),
            Self::Method(wanted) => write!(f, "the method is {wanted}"),
            Self::Present(name) => write!(f, "header {name} is there"),
            Self::Without(name, None) => write!(f, "header {name} is not there"),
            Self::Without(name, Some(value)) => write!(f, "header {name} is not {value}"),
            Self::Query(name) => write!(f, "query parameter {name} is there"),
        }
    }
}

/// Conditions that all hold for a request, or it is not matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMatch {
    /// Of the path.
    path: PathMatch,
    /// The method.
    method: Option<Box<str>>,
    headers: Vec<Named>,
    queries: Vec<Named>,
    others: Vec<Condition>,
    rank: Rank,
}

/// Which of two matches comes first: the greater one. What is equal here is decided by age, name and order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank([usize; 5]);

/// Which condition does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch<'a> {
    /// The path's.
    Path(&'a PathMatch),
    /// The method is another than this.
    Method(&'a str),
    /// That of this header.
    Header(&'a Named),
    /// That of this query parameter.
    Query(&'a Named),
    /// This one's.
    Other(&'a Condition),
}

impl RouteMatch {
    /// A match of an `HTTPRoute`: without a path, it is for all. Of several conditions on the same name the first counts.
    #[must_use]
    pub fn http(
        path: Option<PathMatch>,
        method: Option<&str>,
        headers: Vec<Named>,
        queries: Vec<Named>,
    ) -> Self {
        let path = path.unwrap_or_else(|| PathMatch::Prefix(Prefix::root()));
        let headers = first_of_each(lower(headers));
        let queries = first_of_each(queries);
        let (class, length) = match &path {
            PathMatch::Exact(_) => (3, 0),
            PathMatch::Prefix(prefix) if prefix.trimmed().is_empty() => (0, 0),
            PathMatch::Prefix(prefix) => (2, prefix.trimmed().chars().count()),
            // Free by the specification. Below longer prefixes as in Istio, above `/`, which is what the API writes where
            // nobody has written anything: below that it could never be reached.
            PathMatch::Regex(regex) => (1, regex.as_str().chars().count()),
            // Has no place beside those of Gateway API: matches in order do not look at ranks.
            PathMatch::Begins(_) => (0, 0),
            PathMatch::Grpc { .. } => (3, 0),
        };
        let rank = Rank([class, length, usize::from(method.is_some()), headers.len(), queries.len()]);
        Self { path, method: method.map(Into::into), headers, queries, others: Vec::new(), rank }
    }

    /// A match of a `VirtualService`, where the first rule in order counts, however specific others are: all rank alike.
    #[must_use]
    pub fn in_order(
        path: Option<PathMatch>,
        headers: Vec<Named>,
        queries: Vec<Named>,
        others: Vec<Condition>,
    ) -> Self {
        Self { others, rank: Rank([0; 5]), ..Self::http(path, None, headers, queries) }
    }

    /// A match of a `GRPCRoute`.
    #[must_use]
    pub fn grpc(service: Option<TextMatch>, method: Option<TextMatch>, headers: Vec<Named>) -> Self {
        let headers = first_of_each(lower(headers));
        let length = |part: &Option<TextMatch>| part.as_ref().map_or(0, |part| part.as_str().chars().count());
        let rank = Rank([length(&service), length(&method), headers.len(), 0, 0]);
        let path = PathMatch::Grpc { service, method };
        Self { path, method: None, headers, queries: Vec::new(), others: Vec::new(), rank }
    }

    /// The condition on the path.
    #[must_use]
    pub const fn path(&self) -> &PathMatch {
        &self.path
    }

    /// How specific it is.
    #[must_use]
    pub const fn rank(&self) -> Rank {
        self.rank
    }

    /// Facts that must have exactly these values, beside the path.
    pub(super) fn demands(&self) -> impl Iterator<Item = (Fact<&str>, &str)> {
        let headers = self.headers.iter().map(|Named { name, value }| (Fact::Header(&**name), value));
        let queries = self.queries.iter().map(|Named { name, value }| (Fact::Query(&**name), value));
        let others = self.others.iter().filter_map(|condition| match condition {
            Condition::Method(wanted) => Some((Fact::Method, wanted)),
            Condition::Authority(wanted) => Some((Fact::Authority, wanted)),
            Condition::Scheme(_) | Condition::Present(_) | Condition::Without(..) | Condition::Query(_) => {
                None
            }
        });
        let method = self.method.iter().map(|method| (Fact::Method, &**method));
        let exact = headers.chain(queries).chain(others).filter_map(|(fact, value)| match value {
            TextMatch::Exact(text) => Some((fact, &**text)),
            TextMatch::Regex(_) => None,
        });
        exact.chain(method)
    }

    /// Whether it is for `request`, else the first condition that is not true.
    ///
    /// # Errors
    /// It is not; this is no failure.
    pub fn check<'a>(&'a self, request: &impl Request) -> Result<(), Mismatch<'a>> {
        if !self.path.matches(request.path()) {
            return Err(Mismatch::Path(&self.path));
        }
        if let Some(method) = &self.method
            && **method != *request.method()
        {
            return Err(Mismatch::Method(method));
        }
        if let Some(named) = self.headers.iter().find(|named| !named.holds_header(request)) {
            return Err(Mismatch::Header(named));
        }
        if let Some(named) = self.queries.iter().find(|named| !named.holds_query(request)) {
            return Err(Mismatch::Query(named));
        }
        let other = self.others.iter().find(|condition| !condition.holds(request));
        other.map_or(Ok(()), |condition| Err(Mismatch::Other(condition)))
    }
}

fn lower(mut headers: Vec<Named>) -> Vec<Named> {
    headers.iter_mut().for_each(|named| named.name.make_ascii_lowercase());
    headers
}

/// Later conditions on the same name are ignored (Gateway API: `headers`, `queryParams`).
fn first_of_each(conditions: Vec<Named>) -> Vec<Named> {
    let mut kept: Vec<Named> = Vec::with_capacity(conditions.len());
    for condition in conditions {
        if kept.iter().all(|named| named.name != condition.name) {
            kept.push(condition);
        }
    }
    kept
}

impl fmt::Display for Mismatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "not {path}"),
            Self::Method(method) => write!(f, "the method is not {method}"),
            Self::Header(Named { name, value }) => write!(f, "header {name} is not {value}"),
            Self::Query(Named { name, value }) => write!(f, "query parameter {name} is not {value}"),
            Self::Other(condition) => write!(f, "it is not so that {condition}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::tests::Asked;
    use super::super::text::Regex;
    use super::*;

    fn exact(name: &str, value: &str) -> Named {
        Named { name: name.into(), value: TextMatch::Exact(value.into()) }
    }

    fn regex(name: &str, value: &str) -> Named {
        Named { name: name.into(), value: TextMatch::Regex(Regex::new(value).unwrap()) }
    }

    #[test]
    fn all_conditions_must_hold_and_the_first_that_does_not_is_named() {
        let path = PathMatch::Prefix(Prefix::new("/v2").unwrap());
        let matched = RouteMatch::http(
            Some(path),
            Some("GET"),
            vec![exact("Version", "two")],
            vec![exact("animal", "whale")],
        );
        let whole = Asked::get("/v2/x?animal=whale").with("version", "two");
        assert_eq!(matched.check(&whole), Ok(()));
        for (asked, expected) in [
            (Asked::get("/v2example?animal=whale").with("version", "two"), "not path under /v2"),
            (whole.clone().by("POST"), "the method is not GET"),
            (whole.clone().by("get"), "the method is not GET"),
            (Asked::get("/v2?animal=whale"), "header version is not \"two\""),
            (Asked::get("/v2").with("version", "two"), "query parameter animal is not \"whale\""),
            (whole.with("version", "three"), "header version is not \"two\""),
        ] {
            assert_eq!(alloc::format!("{}", matched.check(&asked).unwrap_err()), expected);
        }
    }

    #[test]
    fn conditions_of_istio_hold_as_they_say() {
        let text = |text: &str| TextMatch::Exact(text.into());
        let asked = Asked::get("/?q=1").with("x", "1").at("shop:80");
        for (condition, holds) in [
            (Condition::Authority(text("shop:80")), true),
            (Condition::Authority(text("shop")), false),
            (Condition::Scheme(text("http")), true),
            (Condition::Scheme(text("https")), false),
            (Condition::Method(TextMatch::Regex(Regex::new("G.*").unwrap())), true),
            (Condition::Method(text("POST")), false),
            (Condition::Present("x".into()), true),
            (Condition::Present("y".into()), false),
            (Condition::Without("x".into(), None), false),
            (Condition::Without("y".into(), None), true),
            (Condition::Without("x".into(), Some(text("1"))), false),
            (Condition::Without("x".into(), Some(text("2"))), true),
            (Condition::Without("y".into(), Some(text("2"))), true),
            (Condition::Query("q".into()), true),
            (Condition::Query("p".into()), false),
        ] {
            let matched = RouteMatch::in_order(None, vec![], vec![], vec![condition.clone()]);
            assert_eq!(matched.check(&asked).is_ok(), holds, "{condition}");
        }
    }

    #[test]
    fn of_one_name_the_first_condition_and_the_first_parameter_count() {
        let matched = RouteMatch::http(
            None,
            None,
            vec![exact("A", "1"), exact("a", "2")],
            vec![exact("q", "1"), exact("q", "2"), exact("Q", "3")],
        );
        assert_eq!((matched.headers.len(), matched.queries.len()), (1, 2));
        assert_eq!(matched.check(&Asked::get("/?q=1&q=2&Q=3").with("a", "1")), Ok(()));
        assert!(matched.check(&Asked::get("/?q=2&q=1&Q=3").with("a", "1")).is_err());
    }

    #[test]
    fn a_header_of_several_values_is_a_list() {
        let asked = Asked::get("/").with("x", "a").with("x", "b").with("x", "c");
        let holds = |named: Named| RouteMatch::http(None, None, vec![named], vec![]).check(&asked).is_ok();
        assert!(holds(exact("x", "a,b,c")) && holds(regex("x", ".*b.*")));
        assert!(!holds(exact("x", "a")) && !holds(exact("y", "")));
        let empty = Asked::get("/").with("x", "");
        assert_eq!(RouteMatch::http(None, None, vec![exact("x", "")], vec![]).check(&empty), Ok(()));
    }

    #[test]
    fn query_parameters_are_compared_as_what_they_encode() {
        for (text, name, value, holds) in [
            ("a=b", "a", "b", true),
            ("a", "a", "", true),
            ("a=", "a", "", true),
            ("%61=%62%2f", "a", "b/", true),
            ("a=b=c", "a", "b=c", true),
            ("a=1%2", "a", "1%2", true),
            ("a=%+1", "a", "%+1", true),
            ("a=%zz", "a", "%zz", true),
            ("a+b=1", "a+b", "1", true),
            ("&&a=1", "a", "1", true),
            ("b=1", "a", "1", false),
            ("", "a", "", false),
            ("A=1", "a", "1", false),
        ] {
            let asked = Asked::get(&alloc::format!("/?{text}"));
            assert_eq!(exact(name, value).holds_query(&asked), holds, "{text}");
        }
        assert!(!exact("a", "").holds_query(&Asked::get("/")));
    }

    // waypoint.md §10.4: path, method, headers, parameters, each only where those before are equal.
    #[test]
    fn the_more_specific_match_comes_first() {
        let path = |path| RouteMatch::http(Some(path), None, vec![], vec![]);
        let under = |text: &str| PathMatch::Prefix(Prefix::new(text).unwrap());
        let expression = |text: &str| PathMatch::Regex(Regex::new(text).unwrap());
        let with = |method, headers: usize, queries: usize| {
            let many = |count: usize| (0..count).map(|n| exact(&alloc::format!("h{n}"), "")).collect();
            RouteMatch::http(None, method, many(headers), many(queries))
        };
        let descending = [
            path(PathMatch::Exact("/a".into())),
            path(under("/long/prefix")),
            path(under("/p")),
            path(expression("/long/.*")),
            path(expression("/.*")),
            with(Some("GET"), 0, 0),
            with(None, 2, 0),
            with(None, 1, 3),
            with(None, 1, 1),
            with(None, 0, 4),
            with(None, 0, 0),
        ];
        assert!(descending.windows(2).all(|pair| pair[0].rank > pair[1].rank));
        assert_eq!(path(under("/p/")).rank, path(under("/q")).rank);
        let grpc = |service: &str, method: &str, headers: usize| {
            let part = |text: &str| (!text.is_empty()).then(|| TextMatch::Exact(text.into()));
            let headers = (0..headers).map(|n| exact(&alloc::format!("h{n}"), "")).collect();
            RouteMatch::grpc(part(service), part(method), headers)
        };
        let descending = [
            grpc("long", "", 0),
            grpc("s", "long", 0),
            grpc("s", "m", 1),
            grpc("s", "m", 0),
            grpc("", "m", 9),
        ];
        assert!(descending.windows(2).all(|pair| pair[0].rank > pair[1].rank));
    }
}
