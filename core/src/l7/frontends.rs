//! Which routes count for a service's port and a client (GEP-1294, GEP-1324: mesh routes).
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::connections::{ConnectionRoute, ConnectionTable};
use super::route::{Kind, Parent, Route, RouteId};
use super::table::Table;
use crate::mesh::ServiceName;

/// A route of requests or of connections.
#[derive(Clone, Debug)]
enum Any {
    Requests(Arc<Route>),
    Connections(Arc<ConnectionRoute>),
}

impl Any {
    fn id(&self) -> &RouteId {
        match self {
            Self::Requests(route) => &route.id,
            Self::Connections(route) => &route.id,
        }
    }

    fn parents(&self) -> &[Parent] {
        match self {
            Self::Requests(route) => &route.parents,
            Self::Connections(route) => &route.parents,
        }
    }
}

/// A route, and the port of one of its parents.
type Attached = (Option<u16>, Any);

/// What a port's routes are about: of one kind, or the other.
#[derive(Clone, Debug)]
pub enum Rules {
    /// Requests of HTTP or gRPC.
    Requests(Table),
    /// Connections.
    Connections(ConnectionTable),
}

/// The tables of one service and namespace of routes: by port, and for ports that no route names.
#[derive(Clone, Debug, Default)]
struct Ports {
    named: BTreeMap<u16, Rules>,
    others: Option<Rules>,
}

impl Ports {
    fn rules(&self, port: u16) -> Option<&Rules> {
        self.named.get(&port).or(self.others.as_ref())
    }
}

/// A route that does not count on a port because one of a more specific kind does (Gateway API: condition `Accepted`, reason
/// `Conflicted`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Conflict {
    /// The route that loses.
    pub route: RouteId,
    /// Where.
    pub parent: Parent,
    /// The kind that wins.
    pub winner: Kind,
}

/// All routes, by what they are for.
///
/// Routes of a service's own namespace are its producer's and hold for every client. Those of other namespaces are their
/// consumers': a client of a namespace that has any for this port gets these, and these alone.
#[derive(Clone, Debug, Default)]
pub struct Frontends {
    services: BTreeMap<ServiceName, BTreeMap<Arc<str>, Ports>>,
    conflicts: BTreeSet<Conflict>,
}

impl Frontends {
    /// Those of `requests` and `connections`; their order means nothing.
    #[must_use]
    pub fn new(
        requests: impl IntoIterator<Item = Arc<Route>>,
        connections: impl IntoIterator<Item = Arc<ConnectionRoute>>,
    ) -> Self {
        let requests = requests.into_iter().map(Any::Requests);
        let connections = connections.into_iter().map(Any::Connections);
        let mut attached: BTreeMap<(ServiceName, Arc<str>), Vec<Attached>> = BTreeMap::new();
        for route in requests.chain(connections) {
            for parent in route.parents() {
                let key = (parent.service.clone(), Arc::clone(&route.id().namespace));
                attached.entry(key).or_default().push((parent.port, route.clone()));
            }
        }
        let mut this = Self::default();
        for ((service, namespace), routes) in attached {
            let ports = this.ports(&service, &routes);
            this.services.entry(service).or_default().insert(namespace, ports);
        }
        this
    }

    fn ports(&mut self, service: &ServiceName, routes: &[Attached]) -> Ports {
        let named: BTreeSet<u16> = routes.iter().filter_map(|(port, _)| *port).collect();
        let mut rules = |port: Option<u16>| {
            // A route that names the port and all ports counts once, as what it is for the port.
            let all = routes.iter().filter(|(of, _)| of.is_none());
            let here: BTreeMap<&RouteId, &Any> = all
                .chain(routes.iter().filter(|(of, _)| of.is_some() && *of == port))
                .map(|(_, route)| (route.id(), route))
                .collect();
            let winner = here.keys().map(|id| id.kind).max()?;
            for id in here.keys().filter(|id| id.kind != winner) {
                let parent = Parent { service: service.clone(), port };
                self.conflicts.insert(Conflict { route: (*id).clone(), parent, winner });
            }
            let winners = here.into_values().filter(|route| route.id().kind == winner);
            Some(match winner {
                Kind::Virtual | Kind::Http | Kind::Grpc => {
                    Rules::Requests(Table::new(winners.filter_map(|route| match route {
                        Any::Requests(route) => Some(Arc::clone(route)),
                        Any::Connections(_) => None,
                    })))
                }
                Kind::Tcp | Kind::Tls => {
                    Rules::Connections(ConnectionTable::new(winners.filter_map(|route| match route {
                        Any::Connections(route) => Some(Arc::clone(route)),
                        Any::Requests(_) => None,
                    })))
                }
            })
        };
        let named = named.into_iter().filter_map(|port| Some((port, rules(Some(port))?))).collect();
        Ports { named, others: rules(None) }
    }

    /// The rules for what a client in `client` (its certificate's namespace) sends to `port` of `service`; `None`: there are
    /// none, and it goes to the service itself.
    #[must_use]
    pub fn rules(&self, service: &ServiceName, port: u16, client: Option<&str>) -> Option<&Rules> {
        let by_namespace = self.services.get(service)?;
        let of = |namespace: &str| by_namespace.get(namespace)?.rules(port);
        client.and_then(of).or_else(|| of(&service.namespace))
    }

    /// [`rules`](Self::rules), if they are about requests.
    #[must_use]
    pub fn table(&self, service: &ServiceName, port: u16, client: Option<&str>) -> Option<&Table> {
        match self.rules(service, port, client)? {
            Rules::Requests(table) => Some(table),
            Rules::Connections(_) => None,
        }
    }

    /// [`rules`](Self::rules), if they are about connections.
    #[must_use]
    pub fn connections(
        &self,
        service: &ServiceName,
        port: u16,
        client: Option<&str>,
    ) -> Option<&ConnectionTable> {
        match self.rules(service, port, client)? {
            Rules::Connections(table) => Some(table),
            Rules::Requests(_) => None,
        }
    }

    /// Routes that do not count, and where.
    pub fn conflicts(&self) -> impl Iterator<Item = &Conflict> {
        self.conflicts.iter()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::backends::Backends;
    use super::super::filters::HeaderChanges;
    use super::super::matching::RouteMatch;
    use super::super::route::{Action, Rule};
    use super::super::tests::Asked;
    use super::*;
    use crate::time::UnixTime;

    fn service() -> ServiceName {
        ServiceName { namespace: "shop".into(), hostname: "echo.shop.svc.cluster.local".into() }
    }

    fn route(kind: Kind, namespace: &str, name: &str, ports: &[Option<u16>]) -> Arc<Route> {
        let parents = ports.iter().map(|port| Parent { service: service(), port: *port }).collect();
        let matches = vec![match kind {
            Kind::Virtual | Kind::Http => RouteMatch::http(None, None, vec![], vec![]),
            Kind::Grpc => RouteMatch::grpc(None, None, vec![]),
            Kind::Tcp | Kind::Tls => unreachable!(),
        }];
        let action = Action::Invalid("".into());
        let rule = Rule { name: None, matches, response: HeaderChanges::default(), cors: None, action };
        let id = RouteId { kind, namespace: namespace.into(), name: name.into() };
        Arc::new(Route { id, created: UnixTime(0), parents, rules: vec![rule] })
    }

    fn found(frontends: &Frontends, port: u16, client: &str) -> Option<Arc<str>> {
        let table = frontends.table(&service(), port, Some(client))?;
        Some(Arc::clone(&table.find(&Asked::get("/s/m"))?.route.id.name))
    }

    #[test]
    fn a_port_that_is_named_has_its_own_routes_beside_those_for_all() {
        let only = Frontends::new([route(Kind::Http, "shop", "eighty", &[Some(80)])], []);
        assert_eq!([found(&only, 80, "x"), found(&only, 8080, "x")], [Some("eighty".into()), None]);
        let both = Frontends::new(
            [
                route(Kind::Http, "shop", "eighty", &[Some(80), None]),
                route(Kind::Http, "shop", "all", &[None]),
            ],
            [],
        );
        assert_eq!(
            [found(&both, 80, "x"), found(&both, 8080, "x")],
            [Some("all".into()), Some("all".into())]
        );
        let table = both.table(&service(), 80, None).unwrap();
        assert_eq!(table.explain(&Asked::get("x")).count(), 2, "each once");
    }

    #[test]
    fn a_client_whose_namespace_has_routes_gets_these_alone() {
        let frontends = Frontends::new(
            [
                route(Kind::Http, "shop", "producer", &[None]),
                route(Kind::Http, "consumer", "consumer", &[Some(80)]),
            ],
            [],
        );
        assert_eq!(found(&frontends, 80, "consumer"), Some("consumer".into()));
        assert_eq!(found(&frontends, 8080, "consumer"), Some("producer".into()));
        assert_eq!(found(&frontends, 80, "other"), Some("producer".into()));
        let foreign = Frontends::new([route(Kind::Http, "consumer", "consumer", &[None])], []);
        assert_eq!(found(&foreign, 80, "other"), None);
        assert!(foreign.table(&service(), 80, None).is_none());
    }

    #[test]
    fn only_the_most_specific_kind_counts_and_the_others_are_told() {
        let frontends = Frontends::new(
            [route(Kind::Http, "shop", "http", &[None]), route(Kind::Grpc, "shop", "grpc", &[Some(7070)])],
            [],
        );
        assert_eq!(found(&frontends, 7070, "x"), Some("grpc".into()));
        assert_eq!(found(&frontends, 80, "x"), Some("http".into()));
        let conflicts: Vec<_> = frontends.conflicts().collect();
        let [conflict] = &conflicts[..] else { panic!("{conflicts:?}") };
        assert_eq!(
            (&*conflict.route.name, conflict.parent.port, conflict.winner),
            ("http", Some(7070), Kind::Grpc)
        );
    }

    #[test]
    fn routes_of_connections_count_where_none_of_requests_are() {
        let connections = |kind, name: &str, port| {
            let id = RouteId { kind, namespace: "shop".into(), name: name.into() };
            let parents = vec![Parent { service: service(), port }];
            let backends = Backends::default();
            Arc::new(ConnectionRoute { id, created: UnixTime(0), parents, names: None, backends })
        };
        let frontends = Frontends::new(
            [route(Kind::Http, "shop", "http", &[Some(80)])],
            [connections(Kind::Tcp, "tcp", None), connections(Kind::Tls, "tls", Some(443))],
        );
        assert_eq!(found(&frontends, 80, "x"), Some("http".into()));
        let of = |port| {
            let table = frontends.connections(&service(), port, None)?;
            Some(Arc::clone(&table.find(None)?.id.name))
        };
        assert_eq!([of(80), of(443), of(22)], [None, Some("tls".into()), Some("tcp".into())]);
        assert!(frontends.table(&service(), 22, None).is_none());
        let conflicts: Vec<_> =
            frontends.conflicts().map(|conflict| (conflict.parent.port, conflict.winner)).collect();
        assert_eq!(conflicts, [(Some(80), Kind::Http), (Some(443), Kind::Tls)]);
        // A consumer's routes of connections stand in front of the producer's routes of requests.
        let mut own = (*connections(Kind::Tcp, "own", None)).clone();
        own.id.namespace = "consumer".into();
        let frontends = Frontends::new([route(Kind::Http, "shop", "http", &[None])], [Arc::new(own)]);
        assert!(frontends.table(&service(), 80, Some("consumer")).is_none());
        assert!(frontends.connections(&service(), 80, Some("consumer")).is_some());
        assert!(frontends.table(&service(), 80, Some("other")).is_some());
    }
}
