//! Backends that want TLS for themselves: it is spoken, their names are checked, and nothing goes to them in plaintext.
use std::sync::{Arc, Mutex};

use crate::rig::tls::{answer, certificates, server};
use crate::rig::{Rig, servers};
use adit_waypoint::demo::world::Plan;

fn policy(root: &str, hostname: &str) -> String {
    format!(
        "{}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {{ name: tls, namespace: demo }}
spec:
  targetRefs: [{{ group: \"\", kind: Service, name: secure }}]
  validation: {{ hostname: {hostname}, caCertificateRefs: [{{ group: \"\", kind: ConfigMap, name: root }}] }}
",
        certificates("root", root)
    )
}

#[test]
fn tls_is_spoken_and_whoever_has_another_name_gets_nothing() {
    let (root, config) = server("secure.demo");
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
