//! `ADIT_RECORD`: what real processes did, with TLS, both runtimes and real sockets, is replayed on shards in this process.
mod common;

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use adit_core::proxy::Shard;
use adit_core::time::Instant;
use adit_node::config::{Config, Cpus};
use adit_node::instance::load_mesh;
use adit_node::shard_config::{Ports, shard_config};
use adit_testkit::replay::{ReplayError, Replayed, replay};
use common::{Directory, Mesh, RUNTIMES, echo, pattern};
use rustix::process::Signal;

const PORTS: Ports = Ports { outbound: 15_001, inbound_plain: 15_006, hbone: 15_008, socks5: Some(15_080) };

fn exchange(mut stream: TcpStream, length: usize) {
    let octets = pattern(length, 9);
    std::thread::scope(|scope| {
        let mut writer = &stream;
        scope.spawn(move || {
            writer.write_all(&octets).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut received = Vec::new();
        (&stream).read_to_end(&mut received).unwrap();
        assert_eq!(received.len(), length);
    });
    let _ = stream.flush();
}

/// Replays a file with `seed` or its own.
fn replay_file(config: &Config, path: &Path, seed: Option<u64>) -> Result<Replayed, ReplayError> {
    let mesh = load_mesh(config).unwrap();
    let make = |header: &adit_runtime::record::Header| {
        assert!(header.about.starts_with("adit-node "), "{}", header.about);
        let settings = shard_config(config, PORTS, seed.unwrap_or(header.seed));
        Shard::new(Arc::new(settings), mesh, Instant::ZERO)
    };
    replay(BufReader::new(File::open(path).unwrap()), make, [])
}

#[test]
fn what_processes_recorded_is_replayed() {
    for runtime in RUNTIMES {
        for records in ["in-place", "rustls"] {
            let directory = Directory::new("recordings");
            let to = directory.path().join("{workload}").display().to_string();
            let more =
                [("ADIT_RECORD", to.as_str()), ("ZTUNNEL_WORKER_THREADS", "2"), ("ADIT_RECORDS", records)];
            let mut mesh = Mesh::start("record", runtime, &more, echo);
            exchange(mesh.connect(80).unwrap(), 400_000);
            exchange(TcpStream::connect(mesh.client_entry()).unwrap(), 10);
            // A policy refuses this one.
            let _ = mesh.connect(81).unwrap().read(&mut [0]);
            for process in [&mut mesh.client, &mut mesh.server] {
                process.signal(Signal::TERM);
                assert!(process.end().success(), "{}", process.output());
                assert!(process.output().contains("payload and the keys of tunnels"), "no warning");
            }
            for (workload, ip) in [("client", mesh.client_ip), ("server", mesh.server_ip)] {
                let mut vars = common::vars(&mesh.directory, workload, ip);
                vars.extend(more.map(|(name, value)| (name, value.to_owned())));
                let vars = vars.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
                let config = Config::from_vars(&vars, Cpus(NonZeroUsize::MIN)).unwrap();
                let mut calls = 0;
                for shard in ["shard-0.adit-record", "shard-1.adit-record"] {
                    let path = directory.path().join(workload).join(shard);
                    let replayed = replay_file(&config, &path, None);
                    let replayed = replayed.unwrap_or_else(|e| panic!("{runtime} {records} {workload}: {e}"));
                    calls += replayed.calls;
                    // Another seed draws other trace ids, if the shard had a connection to make.
                    let other = replay_file(&config, &path, Some(1));
                    let worked = workload == "client" && replayed.calls > 1_000;
                    assert!(!worked || matches!(other, Err(ReplayError::Diverged { .. })), "{other:?}");
                }
                assert!(calls > 100, "{workload} recorded {calls} calls");
            }
        }
    }
}

#[test]
fn recordings_are_never_overwritten() {
    let directory = Directory::new("twice");
    std::fs::write(directory.path().join("shard-0.adit-record"), "precious").unwrap();
    let any = "127.0.0.1:80".parse().unwrap();
    let yaml = common::yaml([127, 0, 0, 2].into(), [127, 0, 0, 3].into(), any, any);
    std::fs::write(directory.path().join("mesh.yaml"), yaml).unwrap();
    let mut vars = common::vars(&directory, "client", [127, 77, 1, 9].into());
    vars.push(("ADIT_RECORD", directory.path().display().to_string()));
    let mut process = common::Process::start(&["proxy"], &vars);
    assert_eq!(process.end().code(), Some(1));
    assert!(process.output().contains("shard-0.adit-record: File exists"), "{}", process.output());
    assert_eq!(std::fs::read_to_string(directory.path().join("shard-0.adit-record")).unwrap(), "precious");
}
