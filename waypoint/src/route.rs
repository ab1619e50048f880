//! From a target to the endpoint that a request or connection goes to, with the mesh and the configuration as they are now.
use std::net::SocketAddr;
use std::sync::Arc;

use adit_core::l7::upstream::{NoEndpoint, Pick, Settled, TrafficPolicy};
use adit_core::l7::{Snapshot, Target};
use adit_core::mesh::{Mesh, Service, Workload};
use adit_core::route::{Fronted, Towards};

use crate::conn::Conn;
use crate::observe::InForce;
use crate::shared::{ClusterKey, ClusterRef, UnderWay};
use crate::upstream::Way;
use crate::worker::Worker;

/// What is decided by, as it was when a request came.
#[derive(Clone)]
pub(crate) struct Now {
    pub(crate) in_force: Arc<InForce>,
    pub(crate) mesh: Arc<Mesh>,
    /// Ourselves.
    pub(crate) local: Arc<Workload>,
}

/// Why there is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unroutable {
    /// The mesh does not know our own workload (any more).
    #[error("the mesh does not know this waypoint's own workload")]
    Ourselves,
    /// The mesh does not know the service.
    #[error("the mesh has no service {0}")]
    Service(Arc<str>),
    /// The service has no such port.
    #[error("service {0} has no port {1}")]
    Port(Arc<str>, u16),
    /// No `DestinationRule` has such a subset of the service.
    #[error("service {0} has no subset {1}: it must be in a DestinationRule")]
    Subset(Arc<str>, Arc<str>),
    /// Nobody is there.
    #[error(transparent)]
    Endpoint(#[from] NoEndpoint),
    /// The routes of the service are for no such connection, or lead nowhere.
    #[error("{0}")]
    NoRoute(Arc<str>),
}

impl Now {
    pub(crate) fn of(worker: &Worker) -> Result<Self, Unroutable> {
        let mesh = worker.shared.tables.current();
        let local = worker.shared.local.found_in(&mesh).cloned().ok_or(Unroutable::Ourselves)?;
        let in_force = Arc::clone(&worker.shared.in_force.borrow());
        Ok(Self { in_force, mesh, local })
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.in_force.snapshot
    }
}

/// An endpoint, and that something is under way to it.
pub(crate) struct Endpoint {
    pub(crate) towards: Towards,
    pub(crate) workload: Arc<Workload>,
    pub(crate) under_way: Option<UnderWay>,
}

impl Endpoint {
    /// Where it is, if it has an address.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.workload.addresses.first().map(|ip| SocketAddr::new(*ip, self.towards.port))
    }
}

/// The service behind a target, and what is said of requests to it.
pub(crate) fn settle<'a>(
    snapshot: &'a Snapshot,
    mesh: &'a Mesh,
    target: &Target,
    subset: Option<&Arc<str>>,
) -> Result<(&'a Arc<Service>, Settled<'a>), Unroutable> {
    let hostname = || Arc::clone(&target.service.hostname);
    let service = mesh.service(&target.service).ok_or_else(|| Unroutable::Service(hostname()))?;
    if !service.ports.contains_key(&target.port) {
        return Err(Unroutable::Port(hostname(), target.port));
    }
    let settled = snapshot.destinations.settle(&target.service, target.port, subset.map(|name| &**name));
    let settled =
        settled.ok_or_else(|| Unroutable::Subset(hostname(), subset.cloned().unwrap_or_default()))?;
    Ok((service, settled))
}

/// Where endpoints are drawn from.
#[derive(Clone)]
pub(crate) enum Pool {
    /// A service's.
    Cluster { key: ClusterKey, cluster: ClusterRef, policy: Arc<TrafficPolicy>, way: Arc<Way> },
    /// The one workload that was asked for.
    Workload(Arc<Workload>, u16),
}

impl Pool {
    /// That of `target`.
    pub(crate) fn of(
        worker: &Worker,
        now: &Now,
        target: &Target,
        subset: Option<&Arc<str>>,
    ) -> Result<Self, Unroutable> {
        let (service, settled) = settle(now.snapshot(), &now.mesh, target, subset)?;
        let key = ClusterKey { service: target.service.clone(), port: target.port, subset: subset.cloned() };
        let of = (&now.mesh, &**service, &*now.local);
        let cluster = worker.shared.clusters.get(worker.shared.now(), &key, &settled, of);
        let way = Way::of(now.snapshot(), target, settled.policy);
        Ok(Self::Cluster { key, cluster, policy: Arc::clone(settled.policy), way })
    }

    /// Draws an endpoint.
    pub(crate) fn draw(&self, worker: &Worker, conn: &Conn, pick: &Pick<'_>) -> Result<Endpoint, Unroutable> {
        match self {
            Self::Cluster { key, cluster, .. } => {
                let now = worker.shared.now();
                let chosen = worker.draw(|rng| cluster.with(|cluster| cluster.choose(now, pick, rng)))?;
                let workload = Arc::clone(&chosen.workload);
                let towards = Towards {
                    workload: Arc::clone(&workload.uid),
                    port: chosen.port,
                    service: Some(key.service.clone()),
                    target: SocketAddr::new(conn.local.ip(), key.port),
                    client: conn.source,
                };
                let under_way = Some(UnderWay::new(cluster.clone(), chosen));
                Ok(Endpoint { towards, workload, under_way })
            }
            Self::Workload(workload, port) => {
                let towards = Towards {
                    workload: Arc::clone(&workload.uid),
                    port: *port,
                    service: None,
                    target: conn.local,
                    client: conn.source,
                };
                Ok(Endpoint { towards, workload: Arc::clone(workload), under_way: None })
            }
        }
    }

    /// How its endpoints are spoken to.
    pub(crate) fn way(&self) -> Arc<Way> {
        match self {
            Self::Cluster { way, .. } => Arc::clone(way),
            Self::Workload(..) => Arc::default(),
        }
    }

    /// What counts against its limits.
    pub(crate) const fn cluster(&self) -> Option<&ClusterRef> {
        match self {
            Self::Cluster { cluster, .. } => Some(cluster),
            Self::Workload(..) => None,
        }
    }

    /// The name that logs and metrics have for it (Envoy's, as istiod gives it).
    pub(crate) fn name(&self, http: bool) -> String {
        match self {
            Self::Cluster { key, .. } => key.name(http),
            Self::Workload(..) => "encap".to_owned(),
        }
    }
}

/// The endpoint of a connection that is not HTTP.
pub(crate) fn endpoint_of_connection(
    worker: &Worker,
    now: &Now,
    conn: &Conn,
    server_name: Option<&str>,
) -> Result<(Pool, Endpoint), Unroutable> {
    let pool = match &conn.target {
        Fronted::Workload(workload) => Pool::Workload(Arc::clone(workload), conn.port),
        Fronted::Service(service) => {
            let table =
                now.snapshot().frontends.connections(&service.name, conn.port, Some(conn.namespace()));
            let (target, subset) = match table {
                None => (Target { service: service.name.clone(), port: conn.port }, None),
                Some(table) => {
                    let route = table.find(server_name);
                    let route =
                        route.ok_or_else(|| Unroutable::NoRoute("no route is for this connection".into()))?;
                    let drawn = worker.draw(|rng| {
                        route
                            .backends
                            .draw(rng)
                            .map(|(backend, target)| (target.at(conn.port), backend.subset.clone()))
                    });
                    drawn.map_err(|error| Unroutable::NoRoute(error.to_string().into()))?
                }
            };
            Pool::of(worker, now, &target, subset.as_ref())?
        }
    };
    let endpoint = pool.draw(worker, conn, &Pick::default())?;
    Ok((pool, endpoint))
}
