//! What stands where a waypoint stands, behind the same node proxy.
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

use super::config::Out;
use super::{config, envoy, load};
use crate::Failure;
use crate::peers::{Running, Site, Start, free};

/// A port that is free at every proxy: those of one mesh dial each other at the port that they listen on themselves.
fn tunnels() -> Result<u16, Failure> {
    loop {
        let port = free(config::WAYPOINT)?.port();
        if [config::CLIENT, config::APP].iter().all(|&host| TcpListener::bind((host, port)).is_ok()) {
            return Ok(port);
        }
    }
}

/// Who is between the client's proxy and the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum System {
    /// `adit-waypoint`.
    Adit(PathBuf),
    /// Envoy.
    Envoy(PathBuf),
    /// Nobody: the client's proxy goes to the application itself. What the others add is counted from here.
    Nobody,
}

impl System {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Adit(_) => "adit",
            Self::Envoy(_) => "envoy",
            Self::Nobody => "nobody",
        }
    }

    /// Starts it with so many routes, and waits until a request for the last of them is answered.
    pub(super) fn start(
        &self,
        site: &Site,
        node: &PathBuf,
        app: SocketAddr,
        out: Out,
        routes: usize,
    ) -> Result<(Running, SocketAddr), Failure> {
        let (entry, hbone) = (free(config::CLIENT)?, tunnels()?);
        let mesh = site.scratch.join("mesh.yaml");
        fs::write(&mesh, config::mesh(hbone, app.port(), out))?;
        let mut start = Start::new(site, entry, None);
        let ours = |program: &PathBuf, name: &str| -> Result<Command, Failure> {
            let mut command = Command::new(program);
            command
                .arg("proxy")
                .env_clear()
                .env("PROXY_MODE", "dedicated")
                .env("PROXY_WORKLOAD_INFO", format!("bench/{name}/{name}"))
                .env("LOCAL_XDS_PATH", &mesh)
                .env("ADIT_CERTIFICATE_DIR", config::certificates(&site.scratch, name)?)
                .env("ADIT_HBONE_PORT", hbone.to_string())
                .env("ADIT_READINESS_PORT", "0")
                .env("ADIT_STATS_PORT", "0")
                .env("ADIT_ADMIN_PORT", "0")
                .env("ADIT_OUTBOUND_PORT", "0")
                .env("ADIT_INBOUND_PORT", "0")
                .env("ENABLE_ORIG_SRC", "false")
                .env("ZTUNNEL_WORKER_THREADS", "1")
                .env("RUST_LOG", "warn,access=off");
            Ok(command)
        };
        match self {
            Self::Adit(program) => {
                let manifests = site.scratch.join("manifests");
                fs::create_dir_all(&manifests)?;
                fs::write(manifests.join("routes.yaml"), config::manifests(routes))?;
                let mut command = ours(program, "waypoint")?;
                command
                    .arg("--config")
                    .arg(&manifests)
                    .env("ADIT_BIND_ADDRESS", config::WAYPOINT.to_string());
                start.spawn(&mut command, true)?;
            }
            Self::Envoy(program) => {
                let file = site.scratch.join("envoy-waypoint.yaml");
                let listen = (config::WAYPOINT, hbone).into();
                let proxy = (out == Out::Hbone).then(|| (config::APP, hbone).into());
                fs::write(&file, envoy::config(&site.scratch, listen, app, proxy, routes))?;
                let mut command = Command::new(program);
                command.args(["--concurrency", "1", "--disable-hot-restart", "-l", "error", "-c"]).arg(&file);
                start.spawn(&mut command, true)?;
            }
            Self::Nobody => {}
        }
        if out == Out::Hbone {
            start.spawn(ours(node, "app")?.env("ADIT_BIND_ADDRESS", config::APP.to_string()), false)?;
        }
        let to = if *self == Self::Nobody { app } else { config::SERVICE };
        let mut client = ours(node, "client")?;
        client
            .env("ADIT_BIND_ADDRESS", config::CLIENT.to_string())
            .env("ADIT_ENTRY", format!("{entry}={to}"));
        start.spawn(&mut client, false)?;
        let path = config::path(routes - 1);
        Ok((start.ready_when(|_| load::alive(entry, &path))?, entry))
    }
}
