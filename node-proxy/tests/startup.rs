//! What `adit-node` says and does before any traffic: help, version, bad options, bad files, taken ports.
mod common;

use std::net::{Ipv4Addr, TcpListener};

use common::{Directory, Process};

/// Runs to the end; returns exit code and output.
fn run(arguments: &[&str], vars: &[(&str, String)]) -> (i32, String) {
    let mut process = Process::start(arguments, vars);
    let code = process.end().code().unwrap();
    (code, process.output())
}

fn with(vars: &[(&'static str, String)], name: &'static str, value: &str) -> Vec<(&'static str, String)> {
    vars.iter().filter(|(n, _)| *n != name).cloned().chain([(name, value.to_owned())]).collect()
}

fn usable(directory: &Directory) -> Vec<(&'static str, String)> {
    let any = "127.0.0.1:80".parse().unwrap();
    let yaml = common::yaml(Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3), any, any);
    std::fs::write(directory.path().join("mesh.yaml"), yaml).unwrap();
    let ports = [
        "ADIT_OUTBOUND_PORT",
        "ADIT_INBOUND_PORT",
        "ADIT_HBONE_PORT",
        "ADIT_SOCKS5_PORT",
        "ADIT_READINESS_PORT",
        "ADIT_STATS_PORT",
        "ADIT_ADMIN_PORT",
    ];
    let mut vars = common::vars(directory, "client", Ipv4Addr::LOCALHOST);
    vars.extend(ports.map(|port| (port, "0".to_owned())));
    // Tests beside this one are on the same address.
    vars.push(("ISTIO_META_DNS_PROXY_ADDR", "localhost:0".to_owned()));
    vars
}

#[test]
fn help_and_version_go_to_stdout_and_succeed() {
    let (code, output) = run(&["version"], &[]);
    assert_eq!((code, output.as_str()), (0, concat!("out: adit-node ", env!("CARGO_PKG_VERSION"), "\n")));
    let (code, output) = run(&["proxy", "--help"], &[]);
    assert!(code == 0 && output.contains("out: ") && output.contains("PROXY_WORKLOAD_INFO"), "{output}");
    let (code, output) = run(&["fly"], &[]);
    assert!(code == 1 && output.contains("err: ") && output.contains("unrecognized subcommand"), "{output}");
}

#[test]
fn an_unusable_environment_says_all_that_is_wrong() {
    let vars = [
        ("KEEPALIVE_TIME", "soon".to_owned()),
        ("COMPLIANCE_POLICY", "fips".to_owned()),
        ("PROXY_MODE", "both".to_owned()),
    ];
    for arguments in [&["proxy"][..], &[]] {
        let (code, output) = run(arguments, &vars);
        assert_eq!(code, 1, "{output}");
        for part in [
            "error: the environment",
            "KEEPALIVE_TIME: read \"soon\"",
            "COMPLIANCE_POLICY",
            "PROXY_MODE: read \"both\"",
        ] {
            assert!(output.contains(part), "{part} is missing in\n{output}");
        }
        assert!(!output.contains('\x1b'), "colour without a terminal: {output}");
    }
}

#[test]
fn each_bad_file_or_value_is_named() {
    let directory = Directory::new("bad");
    let vars = usable(&directory);
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("not.yaml"), "workloads: [").unwrap();
    std::fs::write(path("unknown.yaml"), "workloads: []\nsideloads: []\n").unwrap();
    std::fs::write(path("file"), "").unwrap();
    let cases = [
        ("LOCAL_XDS_PATH", path("absent.yaml"), vec![path("absent.yaml")]),
        ("LOCAL_XDS_PATH", path("not.yaml"), vec![path("not.yaml")]),
        ("LOCAL_XDS_PATH", path("unknown.yaml"), vec![path("unknown.yaml"), "sideloads".to_owned()]),
        (
            "PROXY_WORKLOAD_INFO",
            "test/nobody/x".to_owned(),
            vec![
                "\"test/nobody/x\"".to_owned(),
                path("mesh.yaml"),
                "test/client/client, test/server/server".to_owned(),
            ],
        ),
        ("TRUST_DOMAIN", "elsewhere".to_owned(), vec!["spiffe://cluster.local/ns/test/sa/client".to_owned()]),
        ("LOCAL_CA_DIR", path("file"), vec![path("file")]),
        (
            "ADIT_BIND_ADDRESS",
            "203.0.113.1".to_owned(),
            vec!["failed to bind to address 203.0.113.1:".to_owned()],
        ),
        ("RUST_LOG", "=,x=loud".to_owned(), vec!["RUST_LOG".to_owned(), "x=loud".to_owned()]),
    ];
    for (name, value, parts) in cases {
        let (code, output) = run(&["proxy"], &with(&vars, name, &value));
        assert_eq!(code, 1, "{name}={value}\n{output}");
        for part in parts {
            let error = output
                .lines()
                .skip_while(|line| !line.starts_with("err: error: "))
                .collect::<Vec<_>>()
                .join("\n");
            assert!(error.contains(&part), "{name}={value}: {part} is missing in\n{output}");
        }
    }
}

#[test]
fn a_taken_port_is_a_startup_error_that_names_it() {
    let directory = Directory::new("taken");
    let vars = usable(&directory);
    for name in [
        "ADIT_OUTBOUND_PORT",
        "ADIT_INBOUND_PORT",
        "ADIT_HBONE_PORT",
        "ADIT_SOCKS5_PORT",
        "ADIT_READINESS_PORT",
        "ADIT_STATS_PORT",
        "ADIT_ADMIN_PORT",
    ] {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let (code, output) = run(&["proxy"], &with(&vars, name, &address.port().to_string()));
        assert_eq!(code, 1, "{name}\n{output}");
        assert!(
            output.contains(&format!("error: failed to bind to address {address}: ")),
            "{name}\n{output}"
        );
    }
}
