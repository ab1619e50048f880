//! The control plane: etcd, kube-apiserver and istiod as processes on a host of their own.
//!
//! `etcd`, `kube-apiserver` and `pilot-discovery` are looked for on `PATH`; `ADIT_E2E_CRDS` names the file of Istio's custom
//! resource definitions, which is part of its sources, and `ADIT_E2E_GATEWAY_API` the folder of those of the Gateway API, of the
//! version that istiod is built with. `.ci/e2e` brings all of them.
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use adit_testkit::netns::{HarnessError, Host, Process, Scratch, get, wait_until};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::Signal;

use crate::objects::{Kube, space};
use crate::{Result, SOON};

/// Programs of this size take seconds to start; here the processor is shared with others.
const START: Duration = Duration::from_secs(180);

/// The namespace of the control plane, and of the node proxies.
pub(crate) const SYSTEM: &str = "istio-system";

/// The name in istiod's certificate.
pub(crate) const ISTIOD: &str = "istiod.istio-system.svc";

/// The service account of node proxies, which istiod is told to trust with the identities of their nodes' pods.
pub(crate) const PROXY: &str = "ztunnel";

/// Whoever has it may do everything. It is of use in one network namespace only.
const TOKEN: &str = "an-administrators-token";

/// Whom tokens of service accounts are from.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// What istiod reads before anything else.
const MESH: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    trustDomain: cluster.local
    rootNamespace: istio-system
  meshNetworks: "networks: {}"
"#;

/// All of it. Processes end before the host on which they are.
pub(crate) struct ControlPlane {
    istiod: Option<Process>,
    _api: Process,
    _etcd: Process,
    pub(crate) kube: Kube,
    pub(crate) host: Host,
    scratch: Scratch,
}

impl ControlPlane {
    /// Starts all of it on `host` and waits until it is ready.
    pub(crate) fn start(host: Host) -> Result<Self> {
        let crds = env::var("ADIT_E2E_CRDS")
            .map_err(|_| "ADIT_E2E_CRDS must name Istio's crd-all.gen.yaml: .ci/e2e sets it")?;
        let gateway_api = env::var("ADIT_E2E_GATEWAY_API").map_err(
            |_| "ADIT_E2E_GATEWAY_API must name the Gateway API's config/crd/experimental: .ci/e2e sets it",
        )?;
        let scratch = Scratch::new()?;
        let etcd = start_etcd(&host, &scratch)?;
        let secrets = Secrets::new(host.address(false))?;
        let api = start_api(&host, &scratch, &secrets)?;
        let kubeconfig = kubeconfig(&host, &scratch, &secrets)?;
        let kube = Kube::new(&kubeconfig, host.namespace())?;
        let mut last = String::new();
        wait_ready(&api, "the API server", || match kube.ready() {
            Ok(_) => true,
            Err(error) => {
                last = error.to_string();
                false
            }
        })
        .map_err(|error| format!("{error}\n{last}"))?;
        let crds = fs::read_to_string(&crds).map_err(HarnessError::io(crds))?;
        kube.apply(&crds)?;
        let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/waypoint-chart/crds");
        for folder in [&*gateway_api, ours] {
            kinds_of(folder)?.iter().try_for_each(|text| kube.apply(text))?;
        }
        kube.apply(&space(SYSTEM, false))?;
        kube.apply(MESH)?;
        wait_until("Istio's kinds", SOON, || kube.knows_all_kinds().unwrap_or(false), String::new)?;
        let mut plane = Self { istiod: None, _api: api, _etcd: etcd, kube, host, scratch };
        plane.start_istiod()?;
        let root = plane.root()?;
        plane.scratch.write("root.pem", &root)?;
        Ok(plane)
    }

    /// Starts istiod and waits until it is ready.
    pub(crate) fn start_istiod(&mut self) -> Result<()> {
        let vars = [
            ("CLUSTER_ID", "Kubernetes"),
            ("POD_NAMESPACE", SYSTEM),
            ("POD_NAME", "istiod-0"),
            ("REVISION", "default"),
            ("PILOT_ENABLE_AMBIENT", "true"),
            ("ISTIO_DUAL_STACK", "true"),
            ("PILOT_CERT_PROVIDER", "istiod"),
            ("JWT_POLICY", "third-party-jwt"),
            ("CA_TRUSTED_NODE_ACCOUNTS", "istio-system/ztunnel"),
            // Nobody would call its webhooks: the API server does not reach Services here.
            ("INJECTION_WEBHOOK_CONFIG_NAME", ""),
            ("VALIDATION_WEBHOOK_CONFIG_NAME", ""),
        ];
        let kubeconfig = self.scratch.path().join("kubeconfig");
        let words = [
            program("pilot-discovery")?,
            "discovery".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
            "--domain=cluster.local".to_owned(),
            "--httpsAddr=".to_owned(),
        ];
        let istiod = Process::spawn("istiod", Some(self.host.namespace()), &words, &vars.map(owned))?;
        let ready = || get(&self.host, ([127, 0, 0, 1], 8080), "/ready").is_ok();
        wait_ready(&istiod, "istiod", ready)?;
        self.istiod = Some(istiod);
        Ok(())
    }

    /// Stops istiod, as Kubernetes would.
    pub(crate) fn stop_istiod(&mut self) -> Result<()> {
        let Some(mut istiod) = self.istiod.take() else { return Ok(()) };
        istiod.signal(Signal::TERM)?;
        istiod.wait_exit(SOON)?;
        Ok(())
    }

    /// The certificate of istiod's authority, as it hands it out to the cluster.
    fn root(&self) -> Result<String> {
        let map = format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: istio-ca-root-cert, namespace: {SYSTEM}}}}}"
        );
        let mut root = String::new();
        let found = || {
            let map = self.kube.read(&map).ok().flatten();
            let text = map.as_ref().and_then(|map| map["data"]["root-cert.pem"].as_str());
            root = text.unwrap_or_default().to_owned();
            !root.is_empty()
        };
        wait_until("istiod's root certificate", SOON, found, String::new)?;
        Ok(root)
    }

    /// A file that others read.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        Ok(self.scratch.write(name, text)?)
    }

    /// A file of this control plane.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// What istiod complained of last.
    pub(crate) fn told(&self) -> String {
        let lines = self.istiod.as_ref().map(Process::lines).unwrap_or_default();
        let loud: Vec<_> = lines
            .into_iter()
            .filter(|line| line.contains("\twarn\t") || line.contains("\terror\t"))
            .collect();
        loud[loud.len().saturating_sub(20)..].join("\n")
    }
}

/// Files of kinds in a folder: those of the Gateway API lie beside a policy that refuses other versions of them.
fn kinds_of(folder: &str) -> Result<Vec<String>> {
    let mut kinds = Vec::new();
    for entry in fs::read_dir(folder).map_err(HarnessError::io(folder.to_owned()))? {
        let path = entry?.path();
        let text = fs::read_to_string(&path).map_err(HarnessError::io(path.display().to_string()))?;
        if text.contains("\nkind: CustomResourceDefinition\n") {
            kinds.push(text);
        }
    }
    Ok(kinds)
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// The path of a program: what is missing is said here, better than by whoever would be told to run it.
fn program(name: &str) -> Result<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file());
    let found = found.ok_or_else(|| format!("{name} is not on PATH: run .ci/e2e, which brings it"))?;
    Ok(found.display().to_string())
}

/// Waits until `done` says yes, or the process ends.
fn wait_ready(process: &Process, name: &str, mut done: impl FnMut() -> bool) -> Result<()> {
    let mut ended = None;
    let either = || {
        let looked = process.wait_line("readiness", Duration::ZERO, |_| None::<()>);
        ended = looked.err().filter(|error| matches!(error, HarnessError::Ended { .. }));
        ended.is_some() || done()
    };
    let tail = || {
        let lines = process.lines();
        lines[lines.len().saturating_sub(20)..].join("\n")
    };
    wait_until(&format!("{name} gets ready"), START, either, tail)?;
    ended.map_or(Ok(()), |ended| Err(ended.into()))
}

fn start_etcd(host: &Host, scratch: &Scratch) -> Result<Process> {
    let words = [
        program("etcd")?,
        format!("--data-dir={}", scratch.path().join("etcd").display()),
        "--listen-client-urls=http://127.0.0.1:2379".to_owned(),
        "--advertise-client-urls=http://127.0.0.1:2379".to_owned(),
        "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
        // What it keeps is of no use after the run.
        "--unsafe-no-fsync".to_owned(),
    ];
    let etcd = Process::spawn("etcd", Some(host.namespace()), &words, &[])?;
    let serves = "ready to serve client requests";
    etcd.wait_line(serves, START, |line| line.contains(serves).then_some(()))?;
    Ok(etcd)
}

/// Keys and certificates (PEM), made for this run.
struct Secrets {
    root: String,
    certificate: String,
    key: String,
    /// Signs the tokens of service accounts; and by what these are verified.
    accounts: [String; 2],
}

impl Secrets {
    fn new(server: IpAddr) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new([server.to_string()])?.signed_by(&key, &issuer)?.pem();
        let accounts = KeyPair::generate()?;
        let accounts = [accounts.serialize_pem(), accounts.public_key_pem()];
        Ok(Self { root, certificate, key: key.serialize_pem(), accounts })
    }
}

fn start_api(host: &Host, scratch: &Scratch, secrets: &Secrets) -> Result<Process> {
    let written = |name: &str, text: &str| scratch.write(name, text).map(|path| path.display().to_string());
    let [private, public] = &secrets.accounts;
    let (private, public) = (written("accounts.key", private)?, written("accounts.pub", public)?);
    let tokens = written("tokens.csv", &format!("{TOKEN},admin,admin,system:masters\n"))?;
    let words = [
        program("kube-apiserver")?,
        "--etcd-servers=http://127.0.0.1:2379".to_owned(),
        format!("--bind-address={}", host.address(false)),
        format!("--advertise-address={}", host.address(false)),
        format!("--tls-cert-file={}", written("api.pem", &secrets.certificate)?),
        format!("--tls-private-key-file={}", written("api.key", &secrets.key)?),
        format!("--service-account-issuer={ISSUER}"),
        format!("--service-account-signing-key-file={private}"),
        format!("--service-account-key-file={public}"),
        format!("--api-audiences={ISSUER},istio-ca"),
        "--service-cluster-ip-range=10.96.0.0/16,fd96::/108".to_owned(),
        "--authorization-mode=AlwaysAllow".to_owned(),
        format!("--token-auth-file={tokens}"),
        // It would want a controller manager that makes each namespace's default account.
        "--disable-admission-plugins=ServiceAccount".to_owned(),
    ];
    Ok(Process::spawn("kube-apiserver", Some(host.namespace()), &words, &[])?)
}

/// How istiod and we find the API server.
fn kubeconfig(host: &Host, scratch: &Scratch, secrets: &Secrets) -> Result<String> {
    let root = scratch.write("api-root.pem", &secrets.root)?;
    let server = format!("https://{}:6443", host.address(false));
    let text = config_text(&server, &root);
    scratch.write("kubeconfig", &text)?;
    Ok(text)
}

fn config_text(server: &str, root: &Path) -> String {
    format!(
        r#"
apiVersion: v1
kind: Config
clusters: [{{name: it, cluster: {{server: "{server}", certificate-authority: {root}}}}}]
users: [{{name: admin, user: {{token: {TOKEN}}}}}]
contexts: [{{name: it, context: {{cluster: it, user: admin}}}}]
current-context: it
"#,
        root = root.display(),
    )
}
