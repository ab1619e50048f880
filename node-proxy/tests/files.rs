//! Certificates and revocation lists from files that somebody else replaces, in real processes.
mod common;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Instant;

use adit_core::identity::Identity;
use adit_core::tls::Credentials;
use adit_testkit::pki::Ca;
use common::{Directory, PATIENCE, Process, RUNTIMES, VIP, ask, echo, serve};

const POLL: std::time::Duration = std::time::Duration::from_millis(5);

fn pem(tag: &str, der: &[u8]) -> String {
    pem::encode(&pem::Pem::new(tag, der))
}

/// As whoever replaces a file does it: at once.
fn put(path: &Path, text: &str) {
    let next = path.with_extension("next");
    std::fs::write(&next, text).unwrap();
    std::fs::rename(next, path).unwrap();
}

/// A new certificate for `workload`, in files.
fn certify(ca: &Ca, directory: &Path, workload: &str) -> Credentials {
    let identity = Identity::new("cluster.local", "test", workload).unwrap();
    let credentials = ca.credentials(&identity, 2100);
    let at = directory.join(workload);
    std::fs::create_dir_all(&at).unwrap();
    put(&at.join("cert-chain.pem"), &pem("CERTIFICATE", &credentials.chain[0]));
    put(&at.join("key.pem"), &pem("PRIVATE KEY", credentials.key.secret_der()));
    put(&at.join("root-cert.pem"), &pem("CERTIFICATE", &credentials.roots[0]));
    credentials
}

fn start(runtime: &str, directory: &Directory, workload: &str, ip: Ipv4Addr) -> Process {
    let mut vars = common::vars(directory, workload, ip);
    vars.retain(|(name, _)| !["FAKE_CA", "LOCAL_CA_DIR"].contains(name));
    vars.push(("ADIT_CERTIFICATE_DIR", directory.path().join(workload).display().to_string()));
    vars.push(("CRL_PATH", directory.path().join("crl.pem").display().to_string()));
    let mut process = Process::start(&["proxy", "--runtime", runtime], &vars);
    process.line(&["listening"]);
    process
}

fn connect(client: Ipv4Addr) -> TcpStream {
    common::socks5(client, &[&[1][..], &VIP.octets(), &80_u16.to_be_bytes()].concat()).unwrap().0
}

fn exchange(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"hello")?;
    stream.read_exact(&mut [0; 5])
}

/// The serial number that the admin pages of `ip` show.
fn serial(ip: Ipv4Addr) -> String {
    let answer = ask(SocketAddr::from((ip, 15000)), "GET /config_dump HTTP/1.0\r\nhost: x\r\n\r\n").unwrap();
    let dump: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    dump["certificates"][0]["certChain"][0]["serialNumber"].as_str().unwrap().to_owned()
}

#[test]
fn certificates_are_taken_and_replaced_and_revoked_ones_lose_their_connections() {
    for runtime in RUNTIMES {
        let directory = Directory::new(&format!("files-{runtime}"));
        let (client_ip, server_ip) = common::addresses();
        let application = serve(server_ip, echo);
        let mesh = common::yaml(client_ip, server_ip, application, application);
        // Without the policy for a port that is not used here.
        let mesh = mesh.split("policies:").next().unwrap();
        std::fs::write(directory.path().join("mesh.yaml"), mesh).unwrap();
        let ca = Ca::new();
        let first = certify(&ca, directory.path(), "client");
        certify(&ca, directory.path(), "server");
        put(&directory.path().join("crl.pem"), &pem("X509 CRL", &ca.crl(&[])));
        let mut server = start(runtime, &directory, "server", server_ip);
        let client = start(runtime, &directory, "client", client_ip);

        let mut old = connect(client_ip);
        exchange(&mut old).unwrap();
        let before = serial(client_ip);

        // The certificate that the connection was made with is revoked.
        put(&directory.path().join("crl.pem"), &pem("X509 CRL", &ca.crl(&[&first.chain[0]])));
        assert!(!matches!(old.read(&mut [0]), Ok(1..)), "still open\n{}", server.output());
        server.line(&["out: ", "error=", "revoked"]);
        assert!(exchange(&mut connect(client_ip)).is_err(), "revoked, and taken");

        // A new one is taken without a restart.
        certify(&ca, directory.path(), "client");
        let deadline = Instant::now() + PATIENCE;
        while exchange(&mut connect(client_ip)).is_err() {
            assert!(Instant::now() < deadline, "the new certificate is not used\n{}", client.output());
            std::thread::sleep(POLL);
        }
        assert_ne!(serial(client_ip), before);
    }
}
