//! Connections that are not HTTP: routes for TCP and TLS, servers that speak first, and who is let in.
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use adit_testkit::conformance::{Behind, MESH, V1, V2};
use adit_testkit::netns::{Backend, HarnessError, Result, Runtime};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::place::{DETECTED, Place, TCP, TLS};
use crate::world::FAMILIES;

/// A service that speaks TCP, or TLS, and whose ports are named accordingly.
fn service(name: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: {MESH} }}\nspec:\n  ports:\n  \
         - {{ name: tcp, port: {TCP} }}\n  - {{ name: tls, port: {TLS} }}\n"
    )
}

fn route(kind: &str, name: &str, port: u16, hostnames: &str, backends: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{ name: {name}, namespace: {MESH} }}\nspec:\n  \
         parentRefs: [{{ group: \"\", kind: Service, name: echo, port: {port} }}]\n{hostnames}  rules: [{{ backendRefs: [{backends}] }}]\n"
    )
}

fn manifests() -> String {
    let to = |app: &str, port: u16| format!("{{ name: {app}, port: {port} }}");
    let both = [V1, V2].map(|app| to(app, TCP)).join(", ");
    [
        service("echo"),
        service(V1),
        service(V2),
        route("TCPRoute", "shared", TCP, "", &both),
        route("TLSRoute", "first", TLS, "  hostnames: [first.example]\n", &to(V1, TLS)),
        route("TLSRoute", "others", TLS, "  hostnames: [\"*.second.example\"]\n", &to(V2, TLS)),
        format!(
            "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{ name: closed, namespace: {MESH} }}\nspec:\n  \
             targetRefs: [{{ group: \"\", kind: Service, name: {V2} }}]\n  action: ALLOW\n  \
             rules: [{{ from: [{{ source: {{ principals: [cluster.local/ns/{MESH}/sa/client] }} }}] }}]\n"
        ),
    ]
    .concat()
}

/// Listens on both families of a pod, and serves each connection with `serve` on a thread of its own.
fn serve(
    place: &Place,
    pod: &str,
    port: u16,
    serve: impl Fn(TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
) -> Result<()> {
    let listener = place.inside(pod, || TcpListener::bind(SocketAddr::from(([0_u16; 8], port))))?;
    let listener = listener.map_err(HarnessError::io("listening in a pod"))?;
    let serve = Arc::new(serve);
    // They end with the process; nobody connects when the pod has gone.
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(std::io::Result::ok) {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    Ok(())
}

/// Says who it is, then everything back.
fn greet(pod: &'static str) -> impl Fn(TcpStream) -> std::io::Result<()> {
    move |mut stream| {
        writeln!(stream, "220 {pod}")?;
        std::io::copy(&mut stream.try_clone()?, &mut stream).map(drop)
    }
}

/// Answers a line with it and who it is.
fn answer(pod: &'static str) -> impl Fn(TcpStream) -> std::io::Result<()> {
    move |mut stream| {
        let mut line = String::new();
        BufReader::new(stream.try_clone()?).read_line(&mut line)?;
        write!(stream, "{pod} heard {line}")
    }
}

/// What is said to `to` on a connection: `line` at once, or after a first line has come.
fn talk(place: &Place, pod: &str, to: SocketAddr, line: &str, greeted: bool) -> Result<String> {
    let mut stream = place.host(pod).connect(to)?;
    let talked = (|| {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut heard = String::new();
        if greeted {
            reader.read_line(&mut heard)?;
        }
        writeln!(stream, "{line}")?;
        stream.shutdown(std::net::Shutdown::Write)?;
        reader.read_to_string(&mut heard)?;
        Ok(heard)
    })();
    talked.map_err(HarnessError::io(format!("talking to {to}")))
}

/// A certificate for these names, and the configuration of who has it.
fn certificate(names: &[&str]) -> (RootCertStore, Arc<ServerConfig>) {
    let names = names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).expect("a certificate");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of the provider")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("a usable certificate");
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).expect("a certificate");
    (roots, Arc::new(config))
}

/// Says a line in TLS to the server of that name, whose certificate must be trusted; what it answers.
fn talk_tls(
    place: &Place,
    to: SocketAddr,
    name: &str,
    roots: &RootCertStore,
) -> std::result::Result<String, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let stream = place.host("client").connect(to).map_err(|error| text(&error))?;
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of the provider")
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).map_err(|error| text(&error))?;
    let mut tls = StreamOwned::new(connection, stream);
    let mut heard = String::new();
    writeln!(tls, "a secret")
        .and_then(|()| BufReader::new(tls).read_line(&mut heard))
        .map_err(|error| text(&error))?;
    Ok(heard)
}

/// TCP by weight, TLS by name and untouched, servers that greet first, on ports that are said to be TCP and on others; who is not
/// let in hears nothing.
pub(crate) fn not_http(runtime: Runtime, backend: Backend) -> Result<()> {
    let services = vec![("echo", Behind::Both), (V1, Behind::One(V1)), (V2, Behind::One(V2))];
    let place = Place::new(runtime, backend, services, &manifests())?;
    let (roots_1, config_1) = certificate(&["first.example"]);
    let (roots_2, config_2) = certificate(&["a.second.example"]);
    for (pod, config) in [(V1, config_1), (V2, config_2)] {
        serve(&place, pod, TCP, answer(pod))?;
        serve(&place, pod, DETECTED, greet(pod))?;
        serve(&place, pod, TLS, move |stream| {
            let connection = ServerConnection::new(Arc::clone(&config)).map_err(std::io::Error::other)?;
            let mut tls = StreamOwned::new(connection, stream);
            let mut line = String::new();
            BufReader::new(&mut tls).read_line(&mut line)?;
            write!(tls, "{pod} heard {line}")?;
            tls.conn.send_close_notify();
            tls.flush()
        })?;
    }
    for ipv6 in FAMILIES {
        let at = |service: &str, port: u16| place.at(service, port, ipv6);
        // Whichever; in forty calls each is drawn, but once in 10¹¹ times.
        let heard = (0..40).map(|_| talk(&place, "client", at("echo", TCP), "hello", false));
        let heard = heard.collect::<Result<BTreeSet<_>>>()?;
        assert_eq!(heard, [V1, V2].map(|app| format!("{app} heard hello\n")).into());
        // Not routed, and on a port of which nobody says what it speaks.
        for (app, caller) in [(V1, "client"), (V1, "consumer"), (V2, "client")] {
            let greeted = talk(&place, caller, at(app, DETECTED), "HELO x", true)?;
            assert_eq!(greeted, format!("220 {app}\nHELO x\n"));
            assert_eq!(talk(&place, caller, at(app, TCP), "hello", false)?, format!("{app} heard hello\n"));
        }
        for port in [TCP, DETECTED] {
            let refused = talk(&place, "consumer", at(V2, port), "hello", port == DETECTED);
            assert!(refused.as_ref().is_ok_and(String::is_empty) || refused.is_err(), "{refused:?}");
        }
        let by_name = |name: &str, roots| talk_tls(&place, at("echo", TLS), name, roots);
        assert_eq!(by_name("first.example", &roots_1), Ok(format!("{V1} heard a secret\n")));
        assert_eq!(by_name("a.second.example", &roots_2), Ok(format!("{V2} heard a secret\n")));
        // Nobody has changed the certificate on the way, and a name that no route has leads nowhere.
        assert!(
            by_name("first.example", &roots_2).is_err_and(|error| error.contains("invalid peer certificate"))
        );
        assert!(by_name("third.example", &roots_1).is_err_and(|error| !error.contains("certificate")));
    }
    Ok(())
}
