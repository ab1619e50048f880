//! One connection of a client: whom it is for, who calls, and how both are named.
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use adit_core::hbone::TraceParent;
use adit_core::identity::Identity;
use adit_core::mesh::{Mesh, Service};
use adit_core::proxy::Delivered;
use adit_core::proxy::observed::ServiceLabels;
use adit_core::route::Fronted;
use adit_ops::l7::{Downstream, Exchange, Outlet, Peer, Protocol, Security};

use crate::observe::InForce;

use crate::share::{Place, Share};

/// A connection of a client, which a tunnel has brought.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) target: Fronted,
    /// The port asked for: a service's own, or a pod's.
    pub(crate) port: u16,
    /// Where the client wanted to go.
    pub(crate) local: SocketAddr,
    /// Who calls, by its certificate.
    pub(crate) client: Identity,
    /// Where the caller is: the client's own proxy opens tunnels from the client's address.
    pub(crate) source: SocketAddr,
    pub(crate) peer: Arc<Peer>,
    /// The service's, if it is one that is called.
    labels: Option<Arc<ServiceLabels>>,
    /// What all of its client's connections have.
    pub(crate) share: Arc<Share>,
    /// This one among them.
    _place: Place,
    /// Of the connection, not of its requests.
    pub(crate) trace: Option<TraceParent>,
}

impl Conn {
    pub(crate) fn new(delivered: Delivered, mesh: &Mesh, share: Arc<Share>, place: Place) -> Self {
        let Delivered { plan, request, peer: client, source, local } = delivered;
        // The client's socket, if its proxy says so; its address must be that of the tunnel all the same.
        let said = request.forwarded.as_ref().and_then(|forwarded| forwarded.source);
        let source = said.filter(|said| same(said.ip(), source.ip())).unwrap_or(source);
        let known = mesh.workload_by_address(mesh.network(), source.ip());
        let peer = match known.filter(|workload| workload.identity_ref() == &client) {
            Some(workload) => Peer::of(workload, Some(&client)),
            None => Peer::described(request.baggage.as_ref(), Some(&client)),
        };
        let labels = plan.target.service().map(|service| Arc::new(ServiceLabels::of(service)));
        Self {
            local: plan.address.unwrap_or_else(|| SocketAddr::new(local.ip(), plan.port)),
            port: plan.port,
            target: plan.target,
            client,
            source,
            peer: Arc::new(peer),
            labels,
            share,
            _place: place,
            trace: request.traceparent,
        }
    }

    /// The namespace of who calls, by its certificate.
    pub(crate) fn namespace(&self) -> &str {
        self.client.namespace()
    }

    /// The service that is called, if it is one.
    pub(crate) const fn service(&self) -> Option<&Arc<Service>> {
        self.target.service()
    }

    /// Where requests and connections of the service that is called are told of.
    pub(crate) fn outlet(&self, now: &InForce) -> Arc<Outlet> {
        Arc::clone(now.outlets.of(self.service().map(|service| &service.name)))
    }

    /// What is known beforehand of everything on this connection.
    pub(crate) fn exchange(&self, started: SystemTime, protocol: Protocol) -> Exchange<'_> {
        Exchange {
            downstream: Downstream { local: Some(self.local), remote: Some(self.source), server_name: "" },
            source: Some(&self.peer),
            service: self.labels.as_ref(),
            // Streams come in tunnels alone.
            security: Security::MutualTls,
            connection: self.trace,
            ..Exchange::new(started, protocol)
        }
    }
}

fn same(a: IpAddr, b: IpAddr) -> bool {
    a.to_canonical() == b.to_canonical()
}
