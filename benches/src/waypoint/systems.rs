//! What stands where a waypoint stands, behind the same node proxy.
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use super::{config, load};
use crate::Failure;
use crate::peers::{Running, Site, Start, free};

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
        routes: usize,
    ) -> Result<(Running, SocketAddr), Failure> {
        let (entry, hbone) = (free(config::CLIENT)?, free(config::WAYPOINT)?);
        let mesh = site.scratch.join("mesh.yaml");
        fs::write(&mesh, config::mesh(hbone.port(), app.port()))?;
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
                    .env("ADIT_BIND_ADDRESS", config::WAYPOINT.to_string())
                    .env("ADIT_HBONE_PORT", hbone.port().to_string());
                start.spawn(&mut command, true)?;
            }
            Self::Envoy(program) => {
                let file = site.scratch.join("envoy-waypoint.yaml");
                fs::write(&file, config::envoy(&site.scratch, hbone, app, routes))?;
                let mut command = Command::new(program);
                command.args(["--concurrency", "1", "--disable-hot-restart", "-l", "error", "-c"]).arg(&file);
                start.spawn(&mut command, true)?;
            }
            Self::Nobody => {}
        }
        let to = if *self == Self::Nobody { app } else { config::SERVICE };
        let mut client = ours(node, "client")?;
        client
            .env("ADIT_BIND_ADDRESS", config::CLIENT.to_string())
            .env("ADIT_HBONE_PORT", "0")
            .env("ADIT_ENTRY", format!("{entry}={to}"));
        start.spawn(&mut client, false)?;
        let path = config::path(routes - 1);
        Ok((start.ready_when(|_| load::alive(entry, &path))?, entry))
    }
}
