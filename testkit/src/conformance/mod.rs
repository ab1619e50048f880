//! The mesh cases of Gateway API's conformance suite (`MESH-HTTP`, `MESH-GRPC`), and cases of its gateway suite with a Service in
//! place of the Gateway: manifests, requests and what is expected, as data. Whoever has a waypoint asks ([`Case::play`]): in one
//! process on loopback (`waypoint/tests/conformance`), and between node proxies (`testkit/tests/netns/waypoint`).
//!
//! Unlike the suite's own comparer ours looks at the path and host that an application is asked for, and at where a redirect leads.
//! All cases share one mesh, in which each has services of its own; so they may be played at the same time.
mod answer;
mod basic;
mod gateway;
mod grpc;
mod headers;
mod matching;
mod redirects;
mod rewrite;

pub use self::answer::Answer;

/// The name of the namespace with the services, in [`manifests`].
pub const MESH: &str = "gateway-conformance-mesh";
/// The name of the namespace of the other client, in [`manifests`].
pub const CONSUMER: &str = "gateway-conformance-mesh-consumer";

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// A pod of the services' own namespace, [`MESH`].
    Mesh,
    /// A pod of [`CONSUMER`].
    Consumer,
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// A service's port, by the service's address.
    Service(&'static str, u16),
    /// The pod of an application, by its own address.
    Pod(&'static str),
}

/// Who is behind a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// [`V1`] and [`V2`].
    Both,
    /// One application.
    One(&'static str),
}

/// The first application, in version 1.
pub const V1: &str = "echo-v1";
/// The second.
pub const V2: &str = "echo-v2";
/// The third, of which only the gateway suite's cases know.
pub const V3: &str = "echo-v3";
/// All applications.
pub const APPS: [&str; 3] = [V1, V2, V3];
/// Ports of every service: the suite's for HTTP, and for HTTP/2 without TLS.
pub const PORTS: [u16; 3] = [80, 8080, 7070];

/// Names and values.
pub type Pairs = &'static [(&'static str, &'static str)];
/// Names, and their values, or that they are not there. Values of one name are joined with `,`.
pub type Fields = &'static [(&'static str, Option<&'static str>)];

/// A request, and what is expected of it.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Who asks.
    pub from: Client,
    /// Whom.
    pub to: To,
    /// Method.
    pub method: &'static str,
    /// Path and query.
    pub path: &'static str,
    /// Headers. Without `host` among them, the host is `echo`.
    pub headers: Pairs,
    /// Whether it is a call of gRPC, with one message, on HTTP/2; else HTTP/1.1.
    pub grpc: bool,
    /// How often it is asked, on one connection.
    pub times: usize,
    /// What comes of it, each time.
    pub expected: Expected,
}

/// What comes of a request.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Status.
    pub status: u16,
    /// Where the answer leads (`location`), if anywhere.
    pub location: Option<&'static str>,
    /// Headers of the answer.
    pub headers: Fields,
    /// What an application sees of it; `None`: none sees anything.
    pub seen: Option<Seen>,
}

/// What an application sees of a request.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Which application; `None`: any.
    pub by: Option<&'static str>,
    /// Path and query; `None`: as they were asked for.
    pub path: Option<&'static str>,
    /// Host; `None`: as it was asked for.
    pub host: Option<&'static str>,
    /// Headers.
    pub headers: Fields,
}

/// A request for `/` of `service`'s port 80, which any of its applications answers with 200 as it was asked.
#[must_use]
pub const fn get(service: &'static str) -> Ask {
    Ask {
        from: Client::Mesh,
        to: To::Service(service, 80),
        method: "GET",
        path: "/",
        headers: &[],
        grpc: false,
        times: 1,
        expected: Expected { status: 200, location: None, headers: &[], seen: Some(Seen::ANYWHERE) },
    }
}

/// A call of gRPC.
#[must_use]
pub const fn call(service: &'static str, path: &'static str) -> Ask {
    Ask { to: To::Service(service, 7070), method: "POST", path, grpc: true, ..get(service) }
}

impl Seen {
    const ANYWHERE: Self = Self { by: None, path: None, host: None, headers: &[] };
}

impl Ask {
    /// By that method.
    #[must_use]
    pub const fn method(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    /// With that path and query.
    #[must_use]
    pub const fn path(self, path: &'static str) -> Self {
        Self { path, ..self }
    }

    /// With these headers.
    #[must_use]
    pub const fn with(self, headers: Pairs) -> Self {
        Self { headers, ..self }
    }

    /// On that port of the service.
    #[must_use]
    pub const fn port(self, port: u16) -> Self {
        match self.to {
            To::Service(service, _) => Self { to: To::Service(service, port), ..self },
            To::Pod(_) => self,
        }
    }

    /// To an application's pod, past all services.
    #[must_use]
    pub const fn pod(self, app: &'static str) -> Self {
        Self { to: To::Pod(app), ..self }
    }

    /// From that client.
    #[must_use]
    pub const fn from(self, from: Client) -> Self {
        Self { from, ..self }
    }

    /// So often.
    #[must_use]
    pub const fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    /// The answer has that status, and no application is asked.
    #[must_use]
    pub const fn is(self, status: u16) -> Self {
        Self { expected: Expected { status, seen: None, ..self.expected }, ..self }
    }

    /// The application answers with that status.
    #[must_use]
    pub const fn status(self, status: u16) -> Self {
        Self { expected: Expected { status, ..self.expected }, ..self }
    }

    /// The answer leads there.
    #[must_use]
    pub const fn leads(self, location: &'static str) -> Self {
        Self { expected: Expected { location: Some(location), ..self.expected }, ..self }
    }

    /// The answer has these headers, or has them not.
    #[must_use]
    pub const fn told(self, headers: Fields) -> Self {
        Self { expected: Expected { headers, ..self.expected }, ..self }
    }

    const fn seen(self, seen: Seen) -> Self {
        Self { expected: Expected { seen: Some(seen), ..self.expected }, ..self }
    }

    const fn seen_so_far(&self) -> Seen {
        match self.expected.seen {
            Some(seen) => seen,
            None => Seen::ANYWHERE,
        }
    }

    /// That application answers.
    #[must_use]
    pub const fn by(self, app: &'static str) -> Self {
        self.seen(Seen { by: Some(app), ..self.seen_so_far() })
    }

    /// The application is asked for another path.
    #[must_use]
    pub const fn as_path(self, path: &'static str) -> Self {
        self.seen(Seen { path: Some(path), ..self.seen_so_far() })
    }

    /// The application is asked for another host.
    #[must_use]
    pub const fn as_host(self, host: &'static str) -> Self {
        self.seen(Seen { host: Some(host), ..self.seen_so_far() })
    }

    /// The application sees these headers, or sees them not.
    #[must_use]
    pub const fn sees(self, headers: Fields) -> Self {
        self.seen(Seen { headers, ..self.seen_so_far() })
    }

    /// The host that is asked for.
    #[must_use]
    pub fn host(&self) -> &'static str {
        let said = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        said.map_or("echo", |(_, host)| host)
    }
}

/// How many of many requests an application has to answer.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// The requests.
    pub ask: Ask,
    /// The application.
    pub app: &'static str,
    /// The least.
    pub least: usize,
    /// The most.
    pub most: usize,
}

/// One case.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its `ShortName` in the suite.
    pub name: &'static str,
    /// The services of its own.
    pub services: &'static [(&'static str, Behind)],
    /// Its manifests, in [`MESH`] and [`CONSUMER`].
    pub manifests: fn() -> String,
    /// Requests, in order.
    pub asks: &'static [Ask],
    /// Shares.
    pub shares: &'static [Share],
}

impl Case {
    /// Asks everything by `ask`, which answers with one [`Answer`] for each time. What differs from what is expected.
    pub fn play(&self, mut ask: impl FnMut(&Ask) -> Vec<Answer>) -> Vec<String> {
        let mut wrong = Vec::new();
        let shares = self.shares.iter().map(|share| (&share.ask, Some(share)));
        for (asked, share) in self.asks.iter().map(|ask| (ask, None)).chain(shares) {
            let answers = ask(asked);
            let what = format!(
                "{}: {} {} {:?} to {:?}",
                self.name, asked.method, asked.path, asked.headers, asked.to
            );
            if answers.len() != asked.times {
                wrong.push(format!("{what}: {} answers of {}", answers.len(), asked.times));
            }
            let differences = answers.iter().flat_map(|answer| answer.differs(asked));
            wrong.extend(differences.map(|difference| format!("{what}: {difference}")));
            let Some(share) = share else { continue };
            let count = answers.iter().filter(|answer| answer.app() == Some(share.app)).count();
            if !(share.least..=share.most).contains(&count) {
                wrong.push(format!("{what}: {} has answered {count} of {}", share.app, asked.times));
            }
        }
        wrong
    }
}

/// All cases.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    mesh_cases().chain(gateway_cases())
}

/// The 23 of the mesh suite.
pub fn mesh_cases() -> impl Iterator<Item = &'static Case> {
    [basic::CASES, matching::CASES, headers::CASES, rewrite::CASES, redirects::CASES, grpc::CASES]
        .into_iter()
        .flatten()
}

/// Those of the gateway suite.
pub fn gateway_cases() -> impl Iterator<Item = &'static Case> {
    gateway::CASES.into_iter().flatten()
}

/// The case of that name.
#[must_use]
pub fn case(name: &str) -> Option<&'static Case> {
    cases().find(|case| case.name == name)
}

/// All services, and who is behind each: the suite's own three, and those of the cases.
pub fn services() -> impl Iterator<Item = (&'static str, Behind)> {
    let base = [("echo", Behind::Both), (V1, Behind::One(V1)), (V2, Behind::One(V2)), (V3, Behind::One(V3))];
    base.into_iter().chain(cases().flat_map(|case| case.services.iter().copied()))
}

/// The services that `app` is behind.
#[must_use]
pub fn services_of(app: &str) -> Vec<&'static str> {
    let behind = |behind| match behind {
        Behind::Both => app != V3,
        Behind::One(one) => one == app,
    };
    services().filter(|(_, who)| behind(*who)).map(|(service, _)| service).collect()
}

/// All manifests, for namespaces of these names.
#[must_use]
pub fn manifests(mesh: &str, consumer: &str) -> String {
    let all: String = cases().map(|case| (case.manifests)()).collect();
    // The longer name first: it begins with the other.
    all.replace(CONSUMER, consumer).replace(MESH, mesh)
}

/// A route of `kind` and of the name of its parent `service`; `spec` is what follows its parents, indented by two.
fn route(kind: &str, service: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{ name: {service}, namespace: {MESH} }}\nspec:\n  \
         parentRefs: [{{ group: \"\", kind: Service, name: {service} }}]\n{spec}\n"
    )
}

/// An HTTPRoute on `service` with a rule for each: what matches, and the service that answers.
fn routed(service: &str, rules: &[(&str, &str)]) -> String {
    let rules = rules.iter().map(|(matches, to)| {
        format!("  - matches: [{matches}]\n    backendRefs: [{{ name: {to}, port: 80 }}]\n")
    });
    route("HTTPRoute", service, &format!("  rules:\n{}", rules.collect::<String>()))
}
