//! A mesh on loopback: clients, applications, a node proxy for each, and a waypoint in front of services. The demo's, and the
//! tests'. No root, no cluster.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use adit_control::jwks::Jwks;
use adit_control::resources::documents::{self, DocumentError};
use adit_control::resources::{Compiled, Objects, Problem, World as Whose, compile};
use adit_core::l7::SessionKey;
use adit_core::mesh::{Change, Mesh, MeshError, ServiceName};
use adit_core::proxy::{LocalWorkload, Observed};
use adit_process::certificates::NodeCertificates;
use adit_process::config::{Config, ConfigErrors, Cpus};
use adit_process::handover::{Sockets, same_port};
use adit_process::instance::{Instance, Observe, Parts, StartError, load_mesh, seed};
use adit_process::tables::Tables;
use adit_process::thread::TokioThread;
use adit_runtime::{Handle, Questions, ShardError};
use tokio::sync::watch;

use super::app::App;
use crate::explain::{NoAnswer, Question, Report};
use crate::observe::{InForce, Recorder, Recorders, Told};
use crate::proxy;
use crate::settings::Settings;
use crate::shared::{self, Shared};
use adit_ops::l7::metrics::Reported;
use adit_ops::l7::otlp::{ExportFigures, Exporters, Limits, Resource};

/// Where the waypoint lives.
pub const WAYPOINT: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);
/// The namespace of all.
pub const NAMESPACE: &str = "demo";

/// Why a world is not to be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorldError {
    /// A configuration was refused.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A proxy cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Loopback addresses, ports or threads cannot be had.
    #[error("a few loopback addresses and free ports are needed: {0}")]
    System(#[from] io::Error),
    /// A manifest is none.
    #[error("a manifest cannot be read: {0}")]
    Manifest(#[from] DocumentError),
}

/// Who is to be there.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Clients: each has a proxy of its own, and a service account of its name. `name.namespace` lives in another namespace.
    pub clients: Vec<&'static str>,
    /// Applications, and the services that each is behind. A service without an application has no endpoint.
    pub apps: Vec<(&'static str, Vec<&'static str>)>,
    /// Servers that somebody else runs, each on a loopback address of its own, and the services that each is behind.
    pub servers: Vec<(&'static str, SocketAddr, Vec<&'static str>)>,
    /// Services of which nobody is behind.
    pub empty: Vec<&'static str>,
    /// Ports of every service; each leads to the application's one port.
    pub ports: Vec<u16>,
    /// Worker threads of the waypoint.
    pub threads: usize,
}

/// Everything that runs.
#[derive(Debug)]
pub struct World {
    apps: BTreeMap<&'static str, App>,
    clients: BTreeMap<&'static str, Instance>,
    nodes: Vec<Instance>,
    waypoint: Instance,
    entries: BTreeMap<(&'static str, &'static str, u16), SocketAddr>,
    direct: BTreeMap<(&'static str, &'static str), SocketAddr>,
    in_force: watch::Sender<Arc<InForce>>,
    exporters: Exporters,
    _control: Arc<TokioThread>,
    draining: watch::Sender<bool>,
    keys: Jwks,
    shared: Arc<Shared>,
    /// What is wrong with the manifests in force.
    pub problems: Vec<Problem>,
}

/// The service's own address: nothing listens there, only the mesh knows it.
fn vip(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(240, 240, 1, u8::try_from(index + 1).unwrap_or(u8::MAX))
}

const fn v4(address: SocketAddr) -> Option<Ipv4Addr> {
    match address {
        SocketAddr::V4(address) => Some(*address.ip()),
        SocketAddr::V6(_) => None,
    }
}

fn hostname(service: &str) -> String {
    format!("{service}.{NAMESPACE}.svc.cluster.local")
}

/// Somebody behind services.
struct Behind<'a> {
    name: &'static str,
    address: SocketAddr,
    services: &'a [&'static str],
}

/// A client's name, and its namespace.
fn whose(client: &str) -> (&str, &str) {
    client.split_once('.').unwrap_or((client, NAMESPACE))
}

impl Plan {
    /// Who is behind services.
    fn behind<'a>(&'a self, apps: &BTreeMap<&'static str, App>) -> Vec<Behind<'a>> {
        let of_apps = self.apps.iter().filter_map(|(name, services)| {
            Some(Behind { name, address: apps.get(name)?.address(), services })
        });
        let of_servers = self.servers.iter();
        let of_servers =
            of_servers.map(|(name, address, services)| Behind { name, address: *address, services });
        of_apps.chain(of_servers).collect()
    }

    /// All services, each once.
    fn services(&self) -> Vec<&'static str> {
        let mut services: Vec<_> = self.apps.iter().flat_map(|(_, services)| services.clone()).collect();
        services.extend(self.servers.iter().flat_map(|(_, _, services)| services));
        services.extend(&self.empty);
        services.sort_unstable();
        services.dedup();
        services
    }
}

/// The objects of some YAML documents.
///
/// # Errors
/// One is none.
pub fn objects(manifests: &str) -> Result<Objects, WorldError> {
    Ok(documents::read(manifests, false)?.into_iter().map(Arc::new).collect())
}

impl World {
    /// Starts all of it. `recorders` hear of every request.
    ///
    /// # Errors
    /// See [`WorldError`].
    pub fn start(
        plan: &Plan,
        manifests: &str,
        settings: Settings,
        recorders: Recorders,
    ) -> Result<Self, WorldError> {
        let home = |index: usize| Ipv4Addr::new(127, 0, 2, u8::try_from(index + 1).unwrap_or(u8::MAX));
        let mut apps = BTreeMap::new();
        for (index, (name, _)) in plan.apps.iter().enumerate() {
            apps.insert(*name, App::start(name, home(index))?);
        }
        let behind = plan.behind(&apps);
        let client_home = |index: usize| home(plan.apps.len() + index);
        let addresses: Vec<_> = [WAYPOINT]
            .into_iter()
            .chain(behind.iter().filter_map(|behind| v4(behind.address)))
            .chain((0..plan.clients.len()).map(client_home))
            .collect();
        let (hbone, bound) = same_port(&addresses)?;
        let mut bound = bound.into_iter();
        let mesh = mesh(plan, &behind, client_home, hbone);
        let compiled = compile(&objects(manifests)?, &Whose::new(NAMESPACE, "waypoint"));
        let keys = Jwks::new();
        keys.update(compiled.snapshot.authentications.sources());
        let control = Arc::new(TokioThread::start("adit-control")?);
        let exporters = {
            let _entered = control.enter();
            let runtime = tokio::runtime::Handle::current();
            let (limits, figures) = (Limits::default(), ExportFigures::default());
            Exporters::new(runtime, Resource::new("waypoint.demo", None), limits, figures)
        };
        let in_force = watch::Sender::new(InForce::new(Arc::clone(&compiled.snapshot), &exporters));
        let draining = watch::Sender::new(false);
        let config =
            |name: &str, address: Ipv4Addr, threads: usize| config(name, address, hbone, &mesh, threads);
        let waypoint_config = config("waypoint", WAYPOINT, plan.threads.max(1))?;
        let certificates = NodeCertificates::start(&waypoint_config, seed()?, None, Arc::clone(&control))?;
        let mut parts = |config: &Config, entries| -> Result<(Arc<Tables>, Parts), WorldError> {
            let tables = Arc::new(Tables::new(load_mesh(config)?));
            let listener = bound.next().ok_or_else(|| io::Error::other("an address for each was bound"))?;
            let observe: Observe = Arc::new(|_: &Observed| {});
            let parts = Parts {
                tables: Arc::clone(&tables),
                certificates: certificates.clone(),
                observe,
                questions: Arc::new(Questions::default),
                runtimes: adit_ops::metrics::Runtimes::default(),
                sockets: Sockets::bound(listener)?,
                serve: None,
                entries,
            };
            Ok((tables, parts))
        };
        let (tables, waypoint_parts) = parts(&waypoint_config, Vec::new())?;
        let local = LocalWorkload {
            namespace: NAMESPACE.into(),
            name: "waypoint".into(),
            service_account: "waypoint".into(),
        };
        let shared = Arc::new(Shared::new(shared::Parts {
            in_force: in_force.subscribe(),
            tables,
            local,
            settings,
            recorders,
            draining: draining.subscribe(),
            keys: keys.clone(),
            session_key: SessionKey::new(u128::from(seed()?)),
        }));
        control.spawn(Arc::clone(&shared).forget());
        let waypoint = proxy::start(&waypoint_config, waypoint_parts, &shared)?;
        let mut nodes = Vec::new();
        for behind in &behind {
            let Some(address) = v4(behind.address) else { continue };
            let config = config(behind.name, address, 1)?;
            let (_, parts) = parts(&config, Vec::new())?;
            nodes.push(Instance::start(&config, parts)?);
        }
        let (mut clients, mut entries) = (BTreeMap::new(), BTreeMap::new());
        let mut direct = BTreeMap::new();
        for (index, name) in plan.clients.iter().enumerate() {
            let config = config(name, client_home(index), 1)?;
            let wanted: Vec<_> = plan
                .services()
                .into_iter()
                .enumerate()
                .flat_map(|(number, service)| plan.ports.iter().map(move |port| (number, service, *port)))
                .collect();
            let own = |(number, _, port): &(usize, &str, u16)| {
                (SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((vip(*number), *port)))
            };
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let to_services = wanted.iter().map(own);
            let to_pods = behind.iter().map(|behind| (any, behind.address));
            let (_, parts) = parts(&config, to_services.chain(to_pods).collect())?;
            let instance = Instance::start(&config, parts)?;
            let mut bound = instance.addresses().entries.iter();
            for ((_, service, port), address) in wanted.iter().zip(&mut bound) {
                entries.insert((*name, *service, *port), *address);
            }
            for (behind, address) in behind.iter().zip(bound) {
                direct.insert((*name, behind.name), *address);
            }
            clients.insert(*name, instance);
        }
        let problems = compiled.problems;
        Ok(Self {
            apps,
            clients,
            nodes,
            waypoint,
            entries,
            direct,
            in_force,
            exporters,
            _control: control,
            draining,
            keys,
            shared,
            problems,
        })
    }

    /// An address that leads to `service`'s `port` as if `client` had called it.
    #[must_use]
    pub fn entry(&self, client: &str, service: &str, port: u16) -> Option<SocketAddr> {
        let mut entries = self.entries.iter();
        let wanted = |(key, _): &(&(&str, &str, u16), &SocketAddr)| **key == (client, service, port);
        entries.find(wanted).map(|(_, address)| *address)
    }

    /// An address that leads to an application's own address, not to a service's, as if `client` had called it.
    #[must_use]
    pub fn direct(&self, client: &str, app: &str) -> Option<SocketAddr> {
        let mut direct = self.direct.iter();
        direct.find(|(key, _)| **key == (client, app)).map(|(_, address)| *address)
    }

    /// Connections that clients have to the waypoint.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections()
    }

    /// An application.
    #[must_use]
    pub fn app(&self, name: &str) -> Option<&App> {
        self.apps.get(name)
    }

    /// What the waypoint says would become of a request.
    ///
    /// # Errors
    /// It is for nobody here, or is none.
    pub fn explain(&self, question: &Question) -> Result<Report, NoAnswer> {
        self.shared.explain(question)
    }

    /// Other manifests take the place of those in force.
    ///
    /// # Errors
    /// One cannot be read; those in force stay.
    pub fn apply(&mut self, manifests: &str) -> Result<(), WorldError> {
        self.put(&compile(&objects(manifests)?, &Whose::new(NAMESPACE, "waypoint")));
        Ok(())
    }

    /// What resources come to takes the place of what is in force.
    pub fn put(&mut self, compiled: &Compiled) {
        self.keys.update(compiled.snapshot.authentications.sources());
        self.problems.clone_from(&compiled.problems);
        self.in_force.send_replace(InForce::new(Arc::clone(&compiled.snapshot), &self.exporters));
    }

    /// The waypoint hears that there is no such service any more; its clients do not yet.
    ///
    /// # Errors
    /// The mesh of the rest is none.
    pub fn remove_service(&self, service: &str) -> Result<(), MeshError> {
        let tables = &self.shared.tables;
        let mut mesh = Mesh::clone(&tables.current());
        let name = ServiceName { namespace: NAMESPACE.into(), hostname: hostname(service).into() };
        mesh.apply(Change::RemoveService(name))?;
        tables.publish(Arc::new(mesh));
        Ok(())
    }

    /// The clusters that the waypoint counts for, by the names that logs have for them.
    #[must_use]
    pub fn clusters(&self) -> BTreeSet<String> {
        self.shared.clusters.all().iter().map(|(key, _)| key.name(true)).collect()
    }

    /// Ends the waypoint in good order, as a signal does; returns when it has ended.
    ///
    /// # Errors
    /// A shard failed.
    pub fn drain_waypoint(self) -> Result<Ended, ShardError> {
        self.draining.send_replace(true);
        self.waypoint.handles().iter().for_each(Handle::drain);
        self.waypoint.join()?;
        Ok(Ended { _apps: self.apps, _nodes: self.nodes, _clients: self.clients })
    }
}

/// What is left of a world without its waypoint.
#[derive(Debug)]
pub struct Ended {
    _apps: BTreeMap<&'static str, App>,
    _nodes: Vec<Instance>,
    _clients: BTreeMap<&'static str, Instance>,
}

/// The mesh as a local file would say it: every service has the waypoint in front.
fn mesh(plan: &Plan, behind: &[Behind<'_>], client_home: impl Fn(usize) -> Ipv4Addr, hbone: u16) -> String {
    let mut text = String::from("workloads:\n");
    let workload = |text: &mut String, who: &str, address: Ipv4Addr, services: &str| {
        let (name, namespace) = whose(who);
        let _ = writeln!(
            text,
            "- {{ name: {name}, workloadName: {name}, namespace: {namespace}, serviceAccount: {name}, canonicalName: {name}, \
             canonicalRevision: latest, workloadIps: [{address}], protocol: HBONE, services: {{ {services} }} }}"
        );
    };
    workload(&mut text, "waypoint", WAYPOINT, "");
    for (index, name) in plan.clients.iter().enumerate() {
        workload(&mut text, name, client_home(index), "");
    }
    for Behind { name, address, services } in behind {
        let SocketAddr::V4(address) = address else { continue };
        let ports = |port: &u16| format!("{port}: {}", address.port());
        let ports = plan.ports.iter().map(ports).collect::<Vec<_>>().join(", ");
        let services =
            services.iter().map(|service| format!("{NAMESPACE}/{}: {{ {ports} }}", hostname(service)));
        workload(&mut text, name, *address.ip(), &services.collect::<Vec<_>>().join(", "));
    }
    text.push_str("services:\n");
    let ports = plan.ports.iter().map(|port| format!("{port}: {port}")).collect::<Vec<_>>().join(", ");
    for (index, service) in plan.services().into_iter().enumerate() {
        let _ = writeln!(
            text,
            "- {{ name: {service}, namespace: {NAMESPACE}, hostname: {}, vips: [/{}], ports: {{ {ports} }}, \
             waypoint: {{ destination: /{WAYPOINT}, hboneMtlsPort: {hbone} }} }}",
            hostname(service),
            vip(index),
        );
    }
    text
}

/// The environment that a proxy would be started with as a process of its own.
fn config(
    name: &str,
    address: Ipv4Addr,
    hbone: u16,
    mesh: &str,
    threads: usize,
) -> Result<Config, WorldError> {
    let text = |text: &str| text.to_owned();
    let (name, namespace) = whose(name);
    let vars = BTreeMap::from([
        (text("LOCAL_XDS"), mesh.to_owned()),
        (text("PROXY_MODE"), text("dedicated")),
        (text("PROXY_WORKLOAD_INFO"), format!("{namespace}/{name}/{name}")),
        (text("FAKE_CA"), text("true")),
        (text("ADIT_BIND_ADDRESS"), address.to_string()),
        (text("ADIT_HBONE_PORT"), hbone.to_string()),
        (text("ADIT_OUTBOUND_PORT"), text("0")),
        (text("ADIT_INBOUND_PORT"), text("0")),
        // The same with and without root.
        (text("ENABLE_ORIG_SRC"), text("false")),
        (text("ZTUNNEL_WORKER_THREADS"), threads.to_string()),
        (text("CONNECTION_TERMINATION_DEADLINE"), text("3s")),
    ]);
    Ok(Config::from_vars(&vars, Cpus(NonZeroUsize::MIN))?)
}

/// A recorder that keeps what tests ask for.
#[derive(Clone, Debug, Default)]
pub struct Records(Arc<Mutex<Vec<String>>>);

impl Records {
    /// As who is told.
    #[must_use]
    pub fn recorders(&self) -> Recorders {
        let this = self.clone();
        Arc::new(move || Rc::new(this.clone()))
    }

    /// What was kept so far: `method path status flags details route` of each request.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Recorder for Records {
    fn finished(&self, told: &Told<'_>, _: Reported) {
        let exchange = told.exchange;
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let details = exchange.details.map(ToString::to_string).unwrap_or_default();
        let line = format!(
            "{} {} {} {} {details} {}",
            text(exchange.http.method),
            text(exchange.http.path),
            exchange.http.status,
            exchange.flags,
            exchange.route,
        );
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}
