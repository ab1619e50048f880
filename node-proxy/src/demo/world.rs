//! The demo's mesh: who lives where, under which policy, and the two proxies in between.
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use adit_core::identity::Identity;
use adit_core::proxy::Observed;
use adit_ops::access;
use adit_ops::counters::{Counters, Snapshot};
use adit_ops::metrics::Runtimes;
use adit_runtime::{Handle, Questions, ShardError};

use super::DemoError;
use super::echo::Application;
use super::story::Event;
use crate::certificates::NodeCertificates;
use crate::config::{Config, Cpus, Runtime};
use crate::handover::{Sockets, same_port};
use crate::instance::{Instance, Observe, Parts, StartError, load_mesh, seed};
use crate::tables::Tables;
use crate::thread::TokioThread;
use adit_process::screen::Screen;

/// Where the calling workload and its proxy live.
const WEB: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Where the called workload and its proxy live.
const ECHO: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
/// Where an impostor's proxy lives.
const IMPOSTOR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);
/// The service's own address: nothing listens there, only the mesh knows it.
pub(super) const VIP: Ipv4Addr = Ipv4Addr::new(240, 240, 0, 1);
/// The service's ports.
pub(super) const HTTP: u16 = 80;
pub(super) const RAW: u16 = 7;
pub(super) const PRIVATE: u16 = 81;
/// The policy that closes the private port.
pub(super) const POLICY: &str = "demo/private-is-private";

/// One of the proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Web,
    Echo,
    Impostor,
}

impl Who {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Echo => "echo",
            Self::Impostor => "fake",
        }
    }
}

/// Everything that runs.
#[derive(Debug)]
pub(super) struct World {
    pub(super) application: Application,
    pub(super) web: Instance,
    pub(super) echo: Instance,
    runtime: Runtime,
    /// The impostor's port, taken until it comes.
    reserved: TcpListener,
    counters: [Arc<Counters>; 2],
}

fn tables(config: &Config) -> Result<Arc<Tables>, StartError> {
    load_mesh(config).map(Tables::new).map(Arc::new)
}

/// An authority of its own: who shares it is one mesh.
fn authority(config: &Config) -> Result<NodeCertificates, StartError> {
    NodeCertificates::start(config, seed()?, None, Arc::new(TokioThread::start("adit-control")?))
}

/// Totals of both proxies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WorldTotals {
    pub(super) web: Snapshot,
    pub(super) echo: Snapshot,
}

impl World {
    /// Starts the application and both proxies; they send what they show to `events`.
    pub(super) fn start(runtime: Runtime, events: &Sender<Event>) -> Result<Self, DemoError> {
        let application = Application::start(ECHO)?;
        let (hbone_port, bound) = same_port(&[WEB, ECHO, IMPOSTOR])?;
        let Ok([at_web, at_echo, reserved]) = <[TcpListener; 3]>::try_from(bound) else {
            return Err(io::Error::other("three addresses have three listeners").into());
        };
        let counters = [Arc::default(), Arc::default()];
        let [web_counters, echo_counters] = &counters;
        let config = |who| config(who, &application, hbone_port, runtime);
        let (web_config, echo_config) = (config(Who::Web)?, config(Who::Echo)?);
        // One authority for both: that is what makes them one mesh.
        let certificates = authority(&web_config)?;
        let echo = Instance::start(
            &echo_config,
            Parts {
                tables: tables(&echo_config)?,
                certificates: certificates.clone(),
                observe: observe(Who::Echo, events, echo_counters),
                questions: Arc::new(Questions::default),
                runtimes: Runtimes::default(),
                sockets: Sockets::bound(at_echo)?,
                serve: None,
                entries: Vec::new(),
            },
        )?;
        let web = Instance::start(
            &web_config,
            Parts {
                tables: tables(&web_config)?,
                certificates,
                observe: observe(Who::Web, events, web_counters),
                questions: Arc::new(Questions::default),
                runtimes: Runtimes::default(),
                sockets: Sockets::bound(at_web)?,
                serve: None,
                entries: entries(),
            },
        )?;
        Ok(Self { application, web, echo, runtime, reserved, counters })
    }

    /// Starts a proxy that claims to be `web` with a certificate of its own making; returns it with its entry.
    pub(super) fn impostor(&self, events: &Sender<Event>) -> Result<(Instance, SocketAddr), DemoError> {
        let config =
            config(Who::Impostor, &self.application, self.reserved.local_addr()?.port(), self.runtime)?;
        let parts = Parts {
            tables: tables(&config)?,
            certificates: authority(&config)?,
            observe: observe(Who::Impostor, events, &Arc::default()),
            questions: Arc::new(Questions::default),
            runtimes: Runtimes::default(),
            sockets: Sockets::bound(self.reserved.try_clone()?)?,
            serve: None,
            entries: entries(),
        };
        let instance = Instance::start(&config, parts)?;
        let entry = first(&instance.addresses().entries)?;
        Ok((instance, entry))
    }

    /// What connects here is captured on its way to the service's HTTP port.
    pub(super) fn entry(&self) -> io::Result<SocketAddr> {
        first(&self.web.addresses().entries)
    }

    /// What connects here is captured on its way to the service's private port.
    pub(super) fn private_entry(&self) -> io::Result<SocketAddr> {
        first(self.web.addresses().entries.get(1..).unwrap_or_default())
    }

    /// `web`'s SOCKS5 port.
    pub(super) fn socks5(&self) -> io::Result<SocketAddr> {
        self.web.addresses().socks5.ok_or_else(|| io::Error::other("SOCKS5 does not listen"))
    }

    /// Handles of all shards of both proxies.
    pub(super) fn handles(&self) -> Vec<Handle> {
        [self.web.handles(), self.echo.handles()].concat()
    }

    pub(super) fn totals(&self) -> WorldTotals {
        let [web, echo] = &self.counters;
        WorldTotals { web: web.snapshot(), echo: echo.snapshot() }
    }

    /// Waits until both proxies are drained.
    pub(super) fn join(self) -> Result<(), ShardError> {
        let (web, echo) = (self.web.join(), self.echo.join());
        web.and(echo)
    }

    /// The picture, and what a visitor can do.
    pub(super) fn introduce(&self, screen: &mut Screen) {
        let style = screen.style();
        let hbone = self.echo.addresses().hbone;
        screen.line(
            &style.bold("Adit demo: two node proxies on loopback, a certificate authority, nothing else."),
        );
        screen.line("");
        screen.line(
            "   curl ──▶ web's proxy ════ HBONE: mutual TLS 1.3, HTTP/2 CONNECT ════▶ echo's proxy ──▶ echo",
        );
        screen.line(
            &style.dim(format_args!(
                "            {WEB:<36}             {:<24}{}",
                hbone, self.application.http
            )),
        );
        screen.line("");
        if let (Ok(entry), Ok(private), Ok(socks)) = (self.entry(), self.private_entry(), self.socks5()) {
            screen.line("In another terminal:");
            let tries = [
                (format!("curl http://{entry}/hello"), "echo answers".to_owned()),
                (format!("curl -d 'anything' http://{entry}/"), "echo repeats what you send".to_owned()),
                (format!("curl http://{private}/"), format!("refused by policy {POLICY}")),
                (format!("curl --socks5 {socks} http://{VIP}/"), "by the service's own address".to_owned()),
            ];
            for (command, meaning) in tries {
                screen.line(&format!("   {}  {meaning}", style.cyan(format_args!("{command:<50}"))));
            }
        }
        screen.line("");
        screen.line(&style.dim("Ctrl-C ends. What happens:"));
    }
}

fn entries() -> Vec<(SocketAddr, SocketAddr)> {
    let entry = |port| (SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((VIP, port)));
    vec![entry(HTTP), entry(PRIVATE)]
}

fn first(addresses: &[SocketAddr]) -> io::Result<SocketAddr> {
    addresses.first().copied().ok_or_else(|| io::Error::other("the entry does not listen"))
}

fn observe(who: Who, events: &Sender<Event>, counters: &Arc<Counters>) -> Observe {
    let (events, counters) = (events.clone(), Arc::clone(counters));
    Arc::new(move |observed: &Observed| {
        counters.record(observed);
        access::log(observed);
        // Nobody listens any more only when the demo is over.
        let _ = events.send(Event { who, at: Instant::now(), observed: observed.clone() });
    })
}

/// The environment that a proxy of the demo would be started with as a process of its own.
fn config(
    who: Who,
    application: &Application,
    hbone_port: u16,
    runtime: Runtime,
) -> Result<Config, DemoError> {
    let (address, name) = match who {
        Who::Web => (WEB, "web"),
        Who::Echo => (ECHO, "echo"),
        Who::Impostor => (IMPOSTOR, "web"),
    };
    let text = |text: &str| text.to_owned();
    let vars = BTreeMap::from([
        (text("LOCAL_XDS"), mesh(application)),
        (text("PROXY_MODE"), text("dedicated")),
        (text("PROXY_WORKLOAD_INFO"), format!("demo/{name}/{name}")),
        (text("FAKE_CA"), text("true")),
        (text("ADIT_BIND_ADDRESS"), address.to_string()),
        (text("ADIT_HBONE_PORT"), hbone_port.to_string()),
        (text("ADIT_OUTBOUND_PORT"), text("0")),
        (text("ADIT_INBOUND_PORT"), text("0")),
        (text("UNSTABLE_ENABLE_SOCKS5"), text("true")),
        (text("ADIT_SOCKS5_PORT"), text("0")),
        // The same with and without root.
        (text("ENABLE_ORIG_SRC"), text("false")),
        // One shard each: then "one tunnel for all calls" can be seen.
        (text("ZTUNNEL_WORKER_THREADS"), text("1")),
        (text("CONNECTION_TERMINATION_DEADLINE"), text("2s")),
    ]);
    Ok(Config { runtime, ..Config::from_vars(&vars, Cpus(NonZeroUsize::MIN))? })
}

/// The mesh as a local file would say it.
fn mesh(application: &Application) -> String {
    let (http, raw, private) = (application.http.port(), application.echo.port(), application.private.port());
    let (namespace, policy) = POLICY.split_once('/').unwrap_or_default();
    format!(
        "
workloads:
- name: web
  workloadName: web
  namespace: demo
  serviceAccount: web
  workloadIps: [{WEB}]
  protocol: HBONE
  services: {{}}
- name: echo
  workloadName: echo
  namespace: demo
  serviceAccount: echo
  workloadIps: [{ECHO}]
  protocol: HBONE
  services: {{ demo/echo.demo.svc.cluster.local: {{ {HTTP}: {http}, {RAW}: {raw}, {PRIVATE}: {private} }} }}
  authorizationPolicies: [{POLICY}]
services:
- name: echo
  namespace: demo
  hostname: echo.demo.svc.cluster.local
  vips: [/{VIP}]
  ports: {{ {HTTP}: {http}, {RAW}: {raw}, {PRIVATE}: {private} }}
policies:
- name: {policy}
  namespace: {namespace}
  scope: WorkloadSelector
  action: Deny
  rules: [[[{{ principals: [{{ Exact: cluster.local/ns/demo/sa/web }}], destinationPorts: [{private}] }}]]]
"
    )
}

/// The identity of a workload of the demo.
pub(super) fn identity(name: &str) -> Option<Identity> {
    Identity::new("cluster.local", "demo", name).ok()
}
