//! Backends that want TLS for themselves: it is spoken, their names are checked, and nothing goes to them in plaintext.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use adit_waypoint::demo::world::Plan;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::rig::{Rig, servers};

/// An authority, in PEM, and the configuration of a server that it vouches for as `secure.demo`.
fn server() -> (String, Arc<ServerConfig>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "authority of the test");
    let root = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["secure.demo".to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::URI("spiffe://other/ns/x/sa/y".try_into().unwrap()));
    let leaf = params.signed_by(&own, &issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    (root, Arc::new(config))
}

/// Answers one request in TLS; tells what was asked for as server name, or the first octet of what was no TLS.
fn answer(stream: TcpStream, config: &Arc<ServerConfig>, told: &Mutex<Vec<String>>) {
    let connection = ServerConnection::new(Arc::clone(config)).unwrap();
    let mut tls = StreamOwned::new(connection, stream);
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match tls.read(&mut buffer) {
            Ok(n) if n > 0 => head.extend_from_slice(&buffer[..n]),
            _ => return told.lock().unwrap().push("broken".to_owned()),
        }
    }
    told.lock().unwrap().push(tls.conn.server_name().unwrap_or("-").to_owned());
    tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nsecret").unwrap();
    tls.conn.send_close_notify();
    let _ = tls.flush();
}

fn policy(root: &str, hostname: &str) -> String {
    let root = root.replace('\n', "\n    ");
    format!(
        "
apiVersion: v1
kind: ConfigMap
metadata: {{ name: root, namespace: demo }}
data:
  ca.crt: |
    {root}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {{ name: tls, namespace: demo }}
spec:
  targetRefs: [{{ group: \"\", kind: Service, name: secure }}]
  validation: {{ hostname: {hostname}, caCertificateRefs: [{{ group: \"\", kind: ConfigMap, name: root }}] }}
"
    )
}

#[test]
fn tls_is_spoken_and_whoever_has_another_name_gets_nothing() {
    let (root, config) = server();
    let told = Arc::<Mutex<Vec<String>>>::default();
    let address = {
        let told = Arc::clone(&told);
        servers::server(77, move |stream| answer(stream, &config, &told))
    };
    let plan = Plan {
        clients: vec!["web"],
        servers: vec![("secure", address, vec!["secure"])],
        ports: vec![80],
        ..Plan::default()
    };
    let mut rig = Rig::new(&plan, &policy(&root, "secure.demo"));
    assert_eq!(rig.world.problems, []);
    let reply = rig.get("secure", "/", &[]);
    assert_eq!((reply.status, &*reply.body), (200, &b"secret"[..]));
    assert_eq!(told.lock().unwrap().last().unwrap(), "secure.demo");

    rig.world.apply(&policy(&root, "another.demo")).unwrap();
    let reply = rig.get("secure", "/other", &[]);
    assert_eq!(reply.status, 503);
    let line = rig.lines("/other", 1).remove(0);
    assert!(line.contains(" UF,URX "), "{line}");

    // An authority that is no certificate: nothing is sent, least of all in plaintext.
    rig.world.apply(&policy("nonsense", "secure.demo")).unwrap();
    assert_eq!(rig.get("secure", "/none", &[]).status, 503);
    assert!(!told.lock().unwrap().iter().any(|told| told == "-"));
}
