//! As much of PromQL as tells which metrics and labels a query uses.
use std::collections::BTreeSet;

use crate::exported::{Exported, TARGET};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Mark(char),
}

/// A selector of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Selector {
    metric: String,
    /// Label, whether it must be equal (rather than match, or differ), value.
    matchers: Vec<(String, bool, String)>,
    /// The function whose argument it is, if it is one's.
    within: Option<String>,
}

/// What a query uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    selectors: Vec<Selector>,
    /// Labels of `by`, `without`, `on` and `ignoring`.
    grouped: BTreeSet<String>,
    /// There is an aggregation, so that a label which nothing is grouped by is lost.
    aggregated: bool,
    functions: BTreeSet<String>,
}

const AGGREGATIONS: [&str; 6] = ["sum", "min", "max", "avg", "count", "topk"];
const FUNCTIONS: [&str; 4] = ["rate", "increase", "histogram_quantile", "time"];
const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const OPERATORS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter.is_alphabetic() || letter == '_' || letter == '$' {
            let mut word = letter.to_string();
            while let Some(next) = letters.next_if(|it| it.is_alphanumeric() || "_:".contains(*it)) {
                word.push(next);
            }
            tokens.push(Token::Word(word));
        } else if letter.is_ascii_digit() {
            // A number, with the unit of a duration.
            while letters.next_if(|it| it.is_alphanumeric() || *it == '.').is_some() {}
        } else if letter == '"' {
            tokens.push(Token::Text(letters.by_ref().take_while(|it| *it != '"').collect()));
        } else if !letter.is_whitespace() {
            tokens.push(Token::Mark(letter));
        }
    }
    tokens
}

impl Query {
    /// Reads a query; what is not understood is said.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let tokens = tokens(text);
        let mut query = Self::default();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            let next = tokens.get(at);
            match token {
                Token::Word(word) if GROUPING.contains(&word.as_str()) => {
                    let end = query.grouping(&tokens, at).ok_or_else(|| format!("{word} has no labels"))?;
                    at = end;
                }
                Token::Word(word) if AGGREGATIONS.contains(&word.as_str()) => query.aggregated = true,
                Token::Word(word) if next == Some(&Token::Mark('(')) => {
                    if !FUNCTIONS.contains(&word.as_str()) {
                        return Err(format!("{word} is no function we know"));
                    }
                    query.functions.insert(word.clone());
                }
                Token::Word(word) if OPERATORS.contains(&word.as_str()) => {}
                Token::Word(word) => {
                    let within = match at.checked_sub(3).map(|before| &tokens[before..at - 1]) {
                        Some([Token::Word(function), Token::Mark('(')]) => Some(function.clone()),
                        _ => None,
                    };
                    let mut selector = Selector { metric: word.clone(), matchers: Vec::new(), within };
                    if next == Some(&Token::Mark('{')) {
                        at = selector.matchers(&tokens, at + 1).ok_or_else(|| format!("{word}{{…"))?;
                    }
                    query.selectors.push(selector);
                }
                Token::Mark('[') => {
                    let range = tokens[at..].iter().position(|token| *token == Token::Mark(']'));
                    at += range.ok_or("a range has no end")? + 1;
                }
                Token::Mark(_) | Token::Text(_) => {}
            }
        }
        Ok(query)
    }

    /// Reads labels in parentheses; where they end.
    fn grouping(&mut self, tokens: &[Token], at: usize) -> Option<usize> {
        let inside = tokens.get(at..)?.strip_prefix(&[Token::Mark('(')])?;
        let length = inside.iter().position(|token| *token == Token::Mark(')'))?;
        self.grouped.extend(inside[..length].iter().filter_map(|token| match token {
            Token::Word(label) => Some(label.clone()),
            _ => None,
        }));
        Some(at + length + 2)
    }

    /// What is wrong with it, given what is exported.
    pub(crate) fn faults(&self, exported: &Exported) -> Vec<String> {
        let mut faults = Vec::new();
        let mut known: BTreeSet<&str> = TARGET.into();
        // The bounds of histograms' buckets are labels of these alone.
        for Selector { metric, matchers, within } in &self.selectors {
            let Some(labels) = exported.labels(metric) else {
                faults.push(format!("no metric is called {metric}"));
                continue;
            };
            known.extend(labels.keys().map(String::as_str));
            let counts = metric.ends_with("_total") || metric.ends_with("_bucket");
            let rated = within.as_deref().is_some_and(|function| ["rate", "increase"].contains(&function));
            if counts != rated {
                faults.push(format!("{metric}: counters want rate or increase, others must not have it"));
            }
            for (label, equal, value) in matchers {
                match labels.get(label) {
                    None if TARGET.contains(&label.as_str()) => {}
                    None => faults.push(format!("{metric} has no label {label}")),
                    Some(values) => {
                        let words: Vec<&str> = if *equal { vec![value] } else { value.split('|').collect() };
                        let never = words.into_iter().filter(|word| !values.contains(*word));
                        faults.extend(never.map(|word| format!("{metric}: {label} is never {word}")));
                    }
                }
            }
        }
        if self.selectors.is_empty() {
            faults.push("it uses no metric".to_owned());
        }
        let unknown = self.grouped.iter().filter(|label| !known.contains(label.as_str()));
        faults.extend(unknown.map(|label| format!("it groups by {label}, which nothing has")));
        faults
    }

    /// Whether the result has `label`.
    pub(crate) fn results_have(&self, label: &str, exported: &Exported) -> bool {
        if self.aggregated {
            return self.grouped.contains(label);
        }
        TARGET.contains(&label)
            || self.selectors.iter().any(|selector| {
                exported.labels(&selector.metric).is_some_and(|labels| labels.contains_key(label))
            })
    }
}

impl Selector {
    /// Reads matchers up to the brace; where they end.
    fn matchers(&mut self, tokens: &[Token], mut at: usize) -> Option<usize> {
        loop {
            let rest = tokens.get(at..)?;
            match rest {
                [Token::Mark('}'), ..] => return Some(at + 1),
                [Token::Mark(','), ..] => at += 1,
                [Token::Word(label), Token::Mark('='), Token::Text(value), ..] => {
                    self.matchers.push((label.clone(), true, value.clone()));
                    at += 3;
                }
                [
                    Token::Word(label),
                    Token::Mark('=' | '!'),
                    Token::Mark('~' | '='),
                    Token::Text(value),
                    ..,
                ] => {
                    self.matchers.push((label.clone(), false, value.clone()));
                    at += 4;
                }
                _ => return None,
            }
        }
    }
}

#[test]
fn faults_of_queries_are_found() {
    let exported = Exported::new();
    let faults = |text: &str| Query::read(text).map_or_else(|error| vec![error], |it| it.faults(&exported));
    for good in [
        r#"sum by (response_flags) (rate(istio_tcp_connections_failed_total{pod=~"$pod"}[5m]))"#,
        r#"histogram_quantile(0.9, sum by (le) (rate(istio_dns_upstream_request_duration_seconds_bucket[$__rate_interval])))"#,
        "process_open_fds / process_max_fds > 0.8 and on (pod) adit_metrics_series",
        r#"rate(adit_early_denials_total{response_flags=~"DENY|CONNECT",reporter!="source"}[1h])"#,
        "adit_certificate_soonest_expiry_timestamp_seconds - time() < 3600",
    ] {
        assert_eq!(faults(good), [""; 0], "{good}");
    }
    for (bad, expected) in [
        ("adit_nothing", "no metric is called adit_nothing"),
        ("sum(rate(istio_tcp_sent_bytes[5m]))", "no metric is called istio_tcp_sent_bytes"),
        ("adit_tunnels_opened_total", "want rate or increase"),
        ("rate(adit_tunnels_open[5m])", "others must not have it"),
        (r#"adit_tunnels_open{reason="x"}"#, "no label reason"),
        (r#"adit_tunnels_open{reporter="client"}"#, "never client"),
        (r#"adit_tunnels_open{reporter=~"source|client"}"#, "never client"),
        ("sum by (worker) (adit_tunnels_open)", "groups by worker"),
        ("frobnicate(adit_tunnels_open)", "no function"),
        ("adit_tunnels_open{", "adit_tunnels_open{"),
        ("rate(adit_tunnels_opened_total[5m", "no end"),
        ("1 + 1", "no metric"),
        ("sum by reporter (adit_tunnels_open)", "no labels"),
    ] {
        let found = faults(bad);
        assert!(found.iter().any(|fault| fault.contains(expected)), "{bad}: {found:?}");
    }
}
