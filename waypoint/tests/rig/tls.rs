//! A server that wants TLS for itself.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// An authority, in PEM, and the configuration of a server that it vouches for as `name`, and as `spiffe://other/ns/x/sa/y`.
pub fn server(name: &str) -> (String, Arc<ServerConfig>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "authority of the test");
    let root = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
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
pub fn answer(stream: TcpStream, config: &Arc<ServerConfig>, told: &Mutex<Vec<String>>) {
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

/// An authority as a client trusts it.
pub fn trusted(root: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(root.as_bytes()).unwrap()
}

/// An authority as a ConfigMap of `name`.
pub fn certificates(name: &str, root: &str) -> String {
    let root = root.replace('\n', "\n    ");
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name}, namespace: demo }}\ndata:\n  ca.crt: |\n    {root}\n"
    )
}
