//! The answer as values: what a request meets at a waypoint, step by step. This is the JSON, and what text is made from.
use serde::{Deserialize, Serialize};

/// What becomes of a request, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What becomes of it.
    pub verdict: Verdict,
    /// The request as it is looked at.
    pub request: Seen,
    /// Its token; `None`: no `RequestAuthentication` bears on the target, or it did not come so far.
    pub token: Option<Token>,
    /// Who may ask; `None`: it did not come so far.
    pub authorization: Option<Authorization>,
    /// Which rule is for it; `None`: it did not come so far.
    pub route: Option<Routing>,
    /// How it is sent on; `None`: it is not.
    pub forward: Option<Forwarding>,
    /// What the client is told without asking anybody; `None`: nothing.
    pub answer: Option<Answer>,
    /// What was taken for granted, or cannot be known.
    pub notes: Vec<String>,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// In one word.
    pub outcome: Outcome,
    /// The status of the waypoint's own answer, if there is one.
    pub status: Option<u16>,
    /// In one line.
    pub text: String,
}

/// What becomes of a request, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It is sent on.
    Sent,
    /// The waypoint answers, as it is configured to: a redirect, a fixed answer, a browser's question.
    Answered,
    /// The waypoint refuses it, or has nobody to send it to.
    Refused,
}

/// A header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A request as decisions see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Uid of the waypoint's workload.
    pub waypoint: String,
    /// Whom it is for: `namespace/hostname` of a service, or a workload's uid.
    pub target: String,
    /// Whether that is a workload, asked for by its own address: then no routes hold.
    pub is_workload: bool,
    /// The port.
    pub port: u16,
    /// What the port speaks.
    pub protocol: String,
    /// Identity of who calls.
    pub source: Option<String>,
    /// Address of who calls.
    pub address: String,
    /// The method.
    pub method: String,
    /// `Host` or `:authority`.
    pub host: String,
    /// The path, normalised.
    pub path: String,
    /// The path as it was written, if that is another.
    pub path_given: Option<String>,
    /// The query.
    pub query: Option<String>,
    /// Headers, without those that end here.
    pub headers: Vec<Field>,
}

/// What is said of a request's token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// Issuers whose tokens are looked at.
    pub issuers: Vec<String>,
    /// `ISS/SUB` of the token that is valid.
    pub principal: Option<String>,
    /// Why the request is refused.
    pub refused: Option<String>,
}

/// What is said of who may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authorization {
    /// Providers that must agree first (CUSTOM).
    pub ask: Vec<String>,
    /// Every policy that bears on the target.
    pub policies: Vec<Policy>,
    /// The AUDIT rule that matches.
    pub audit: Option<String>,
    /// What policies on trial would have said.
    pub on_trial: Vec<String>,
    /// Whether it is refused.
    pub denied: bool,
    /// By which rule it is admitted, or why it is refused.
    pub decision: String,
}

/// One policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// Its `namespace/name`.
    pub name: String,
    /// `ALLOW`, `DENY`, `AUDIT` or `CUSTOM`.
    pub action: String,
    /// What it is for.
    pub targets: Vec<String>,
    /// Only on trial (`istio.io/dry-run`).
    pub on_trial: bool,
    /// Position of its first rule that holds, from 0.
    pub matched: Option<usize>,
}

/// Which rule is for a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Routing {
    /// Whether there are routes for the port and the caller at all; without any it goes to the service itself.
    pub has_routes: bool,
    /// The matches in order of precedence, up to and with the one that holds.
    pub tried: Vec<Tried>,
    /// The rule that was found, as logs and metrics name it: `namespace.route.rule`.
    pub found: Option<String>,
}

/// One match of one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tried {
    /// The route: its kind, namespace and name.
    pub route: String,
    /// The rule, as logs and metrics name it.
    pub rule: String,
    /// The match's path.
    pub path: String,
    /// Why it is not the one; `None`: it is.
    pub why_not: Option<String>,
}

/// How a request is sent on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Forwarding {
    /// Path and query that the backend is asked for.
    pub path: String,
    /// `Host` that it is asked with.
    pub host: String,
    /// Changes of the request's headers.
    pub request: Changes,
    /// Changes of the answer's.
    pub response: Changes,
    /// Backends, each with its share.
    pub backends: Vec<BackendShare>,
    /// Who gets copies.
    pub mirrors: Vec<Copied>,
    /// Retries and timeouts.
    pub retry: Retry,
    /// Where clients' sessions are kept, if they are.
    pub persistence: Option<String>,
    /// Rate limits, nearest first.
    pub limits: Vec<Limit>,
    /// Faults put in on purpose.
    pub faults: Vec<Fault>,
}

/// Changes of headers, in the order in which they are made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Names that go.
    pub remove: Vec<String>,
    /// Names that have this value alone.
    pub set: Vec<Field>,
    /// Names that have this value as well.
    pub add: Vec<Field>,
}

/// A backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendShare {
    /// `hostname:port`, with `/subset` if there is one; of a workload its uid.
    pub target: String,
    /// Its weight.
    pub weight: u32,
    /// Its share of requests, in thousandths.
    pub share: u32,
    /// Changes of headers for it alone.
    pub request: Changes,
    /// Changes of its answers' headers.
    pub response: Changes,
    /// TLS of the application's own that is spoken to it, inside of the mesh's.
    pub tls: Option<String>,
    /// Why what falls to it fails, and the status.
    pub fails: Option<Failing>,
    /// Its endpoints; `None`: it is no service, or a workload.
    pub cluster: Option<ClusterReport>,
}

/// Why requests fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// The status that the client gets.
    pub status: u16,
    /// Why.
    pub why: String,
}

/// Who gets copies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// `hostname:port`, with `/subset` if there is one.
    pub target: String,
    /// So many …
    pub numerator: u32,
    /// … of so many requests.
    pub denominator: u32,
}

/// Retries and timeouts. Times are in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// Attempts after the first.
    pub retries: u32,
    /// After what.
    pub on: Vec<String>,
    /// The first wait is at most this.
    pub backoff_ms: u64,
    /// How long an attempt may take.
    pub per_try_ms: Option<u64>,
    /// How long all may take.
    pub timeout_ms: Option<u64>,
}

/// A rate limit policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Its `namespace/name`.
    pub policy: String,
    /// It only counts.
    pub shadow: bool,
    /// Its buckets here.
    pub buckets: Vec<String>,
    /// Whether the request has a key for any of them.
    pub counted: bool,
    /// What a rate limit service is asked.
    pub asks: Option<String>,
}

/// Faults of a rule or policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Where they come from: the rule, or a policy's `namespace/name`.
    pub by: String,
    /// Whether they are for this request: the nearest that is counts.
    pub applies: bool,
    /// What befalls it.
    pub what: Vec<String>,
}

/// An answer of the waypoint's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What it is: `redirect`, `direct answer`, `CORS preflight`.
    pub kind: String,
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: Vec<Field>,
    /// Its body.
    pub body: String,
}

/// One service, port and subset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterReport {
    /// As logs name it.
    pub name: String,
    /// What the port speaks.
    pub protocol: String,
    /// How an endpoint is chosen.
    pub balancer: String,
    /// Most connections, requests that wait for one, and requests.
    pub limits: [u32; 3],
    /// How many there are.
    pub under_way: [u32; 3],
    /// Requests, and how many of them are being retried.
    pub exchanges: [u32; 2],
    /// When endpoints are ejected; `None`: never.
    pub outlier_detection: Option<String>,
    /// How long a connection may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Endpoints.
    pub endpoints: Vec<EndpointReport>,
    /// How many of them may be chosen.
    pub open: usize,
    /// Members that are no endpoints.
    pub left_out: Vec<LeftOutReport>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointReport {
    /// Uid of its workload.
    pub uid: String,
    /// Its first address.
    pub address: Option<String>,
    /// Its port.
    pub port: u16,
    /// Its weight.
    pub weight: u32,
    /// Its level: lower ones go first.
    pub level: u16,
    /// Requests under way to it.
    pub outstanding: u32,
    /// Ejected, for at least so many milliseconds more.
    pub ejected_ms: Option<u64>,
    /// Its share while it warms up, in thousandths.
    pub share: u16,
}

/// A member that is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutReport {
    /// Uid of its workload.
    pub uid: String,
    /// Why.
    pub why: String,
}
