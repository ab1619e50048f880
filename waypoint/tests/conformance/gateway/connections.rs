//! What goes through without being looked at, and how backends are spoken to.
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex};

use adit_waypoint::demo::world::Plan;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::super::rig::tls::{answer, certificates, server, trusted};
use super::super::rig::{Client, Rig, echo, route, servers};

/// The client's TLS ends at the backend, whom it knows by the backend's own certificate.
#[test]
fn tls_route_simple_same_namespace() {
    let (root, config) = server("*.example.com");
    let told = Arc::<Mutex<Vec<String>>>::default();
    let address = {
        let (told, config) = (Arc::clone(&told), Arc::clone(&config));
        servers::server(70, move |stream| answer(stream, &config, &told))
    };
    let plan = Plan {
        clients: vec!["web"],
        servers: vec![("secure", address, vec!["front", "backend"])],
        ports: vec![443],
        ..Plan::default()
    };
    let service = |name: &str| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: demo }}\nspec: {{ ports: [{{ name: tls, port: 443 }}] }}\n"
        )
    };
    let passed = "  hostnames: [abc.example.com]\n  rules: [{ backendRefs: [{ name: backend, port: 443 }] }]";
    let rig = Rig::new(
        &plan,
        &[service("front"), service("backend"), route("TLSRoute", "r", "front", passed)].concat(),
    );
    let mut roots = RootCertStore::empty();
    roots.add(trusted(&root)).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let ask = |name: &'static str| {
        let connection =
            ClientConnection::new(Arc::clone(&config), ServerName::try_from(name).unwrap()).unwrap();
        let stream = Client::new(rig.entry("front", 443)).0.into_inner();
        let mut tls = StreamOwned::new(connection, stream);
        tls.write_all(b"GET /passed HTTP/1.1\r\nhost: x\r\n\r\n")?;
        let mut answer = Vec::new();
        tls.read_to_end(&mut answer).map(|_| answer)
    };
    assert!(ask("abc.example.com").unwrap().ends_with(b"secret"));
    assert!(ask("def.example.com").is_err(), "no route is for this name");
    assert_eq!(*told.lock().unwrap(), ["abc.example.com"]);
}

/// BackendTLSPolicy, BackendTLSPolicyConflictResolution, BackendTLSPolicySANValidation.
#[test]
fn backend_tls_policy() {
    let (root, config) = server("secure.example.com");
    let (other, _) = server("secure.example.com");
    let told = Arc::<Mutex<Vec<String>>>::default();
    let address = {
        let told = Arc::clone(&told);
        servers::server(71, move |stream| answer(stream, &config, &told))
    };
    let plan = Plan {
        clients: vec!["web"],
        servers: vec![("secure", address, vec!["secure"])],
        ports: vec![80],
        ..Plan::default()
    };
    let policy = |name: &str, created: &str, authority: &str, validation: &str| {
        format!(
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {{ name: {name}, namespace: demo, \
             creationTimestamp: \"{created}\" }}\nspec:\n  targetRefs: [{{ group: \"\", kind: Service, name: secure }}]\n  validation:\n    \
             caCertificateRefs: [{{ group: \"\", kind: ConfigMap, name: {authority} }}]\n    {validation}\n"
        )
    };
    let authorities = certificates("own", &root) + &certificates("other", &other);
    let named = "hostname: secure.example.com";
    let mut rig = Rig::new(&plan, &authorities);
    for (case, policies, status) in [
        ("fine", policy("p", "2020-01-01T00:00:00Z", "own", named), 200),
        ("another host", policy("p", "2020-01-01T00:00:00Z", "own", "hostname: another.example.com"), 503),
        ("another authority", policy("p", "2020-01-01T00:00:00Z", "other", named), 503),
        (
            "a SAN that it has",
            policy(
                "p",
                "2020-01-01T00:00:00Z",
                "own",
                &format!("{named}\n    subjectAltNames: [{{ type: URI, uri: spiffe://other/ns/x/sa/y }}]"),
            ),
            200,
        ),
        (
            "a SAN that it has not",
            policy(
                "p",
                "2020-01-01T00:00:00Z",
                "own",
                &format!("{named}\n    subjectAltNames: [{{ type: Hostname, hostname: x.example.com }}]"),
            ),
            503,
        ),
        (
            "the older counts",
            policy("b", "2020-01-01T00:00:00Z", "own", named)
                + &policy("a", "2021-01-01T00:00:00Z", "other", named),
            200,
        ),
        (
            "the first by name counts",
            policy("b", "2020-01-01T00:00:00Z", "own", named)
                + &policy("a", "2020-01-01T00:00:00Z", "other", named),
            503,
        ),
    ] {
        rig.world.apply(&[authorities.as_str(), &policies].concat()).unwrap();
        assert_eq!(rig.get("secure", "/", &[]).status, status, "{case}");
    }
    assert!(!told.lock().unwrap().iter().any(|told| told == "-"), "nothing went in plaintext");
}

/// HTTPRouteBackendProtocolH2C, HTTPRouteBackendProtocolWebSocket.
#[test]
fn http_route_backend_protocol() {
    let service = |name: &str, protocol: &str| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: demo }}\nspec: {{ ports: [{{ name: first, port: 80, \
             appProtocol: {protocol} }}] }}\n"
        )
    };
    let rules = "  rules:\n  - matches: [{ path: { value: /h2c } }]\n    backendRefs: [{ name: echo-v1, port: 80 }]\n  \
                 - backendRefs: [{ name: echo-v2, port: 80 }]";
    let manifests = [
        service("echo-v1", "kubernetes.io/h2c"),
        service("echo-v2", "kubernetes.io/ws"),
        service("echo", "http"),
        route("HTTPRoute", "r", "echo", rules),
    ];
    let rig = Rig::new(&echo(), &manifests.concat());
    let reply = rig.get("echo", "/h2c", &[]);
    assert_eq!(
        (reply.status, reply.app().as_str(), &reply.told()["version"]),
        (200, "v1", &"HTTP/2.0".into())
    );
    let mut client = rig.client("echo", 80);
    client.send(
        "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(client.read().status, 101);
    client.send("through");
    let mut echoed = [0; 7];
    client.0.read_exact(&mut echoed).unwrap();
    assert_eq!(&echoed, b"through");
}
