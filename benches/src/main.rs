//! The end-to-end bench: our node proxy beside a stand-in for ztunnel's stack, a plain copy, and Envoy, in one run.
//!
//! `cargo run --release -p adit-bench --features jemalloc -- e2e` builds nothing else: it runs the `adit-node` found beside its own binary.
//! The other subcommands are the processes it starts; they are of use by hand, too.
#![forbid(unsafe_code)]

mod copy;
mod harness;
mod load;
mod measure;
mod peers;
mod pki;
mod place;
#[cfg(feature = "pods")]
mod pods;
mod scenario;
mod standin;
mod waypoint;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The stand-in gets ztunnel's allocator, so that memory and small allocations compare fairly.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[derive(Parser)]
#[command(about = "End-to-end bench of Adit and its peers")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs everything and prints ratios.
    E2e(harness::Options),
    /// Our waypoint beside Envoy in the same position.
    Waypoint(waypoint::Options),
    /// Our node proxy beside the real ztunnel as nodes of a cluster run them: in-pod, driven by a CNI agent and a control plane.
    /// Needs root.
    #[cfg(feature = "pods")]
    Pods(pods::Options),
    /// Measures proxies that run already, whoever made them.
    Against(harness::Against),
    /// The application: echoes, swallows or sources octets, as the first octet of a connection says.
    App {
        /// Where to listen.
        #[arg(long)]
        listen: SocketAddr,
    },
    /// A plain copying TCP proxy.
    Copy {
        /// Where to listen.
        #[arg(long)]
        listen: SocketAddr,
        /// Where to connect.
        #[arg(long)]
        to: SocketAddr,
    },
    /// tokio + tokio-rustls + h2 with ztunnel's settings, client side.
    StandinOut {
        /// Where applications connect.
        #[arg(long)]
        listen: SocketAddr,
        /// The other stand-in.
        #[arg(long)]
        peer: SocketAddr,
        /// CONNECT authority.
        #[arg(long)]
        target: SocketAddr,
        /// Directory of the certificates.
        #[arg(long)]
        pki: PathBuf,
        /// Worker threads; 1 is a current-thread runtime.
        #[arg(long, default_value_t = 1)]
        workers: usize,
    },
    /// tokio + tokio-rustls + h2 with ztunnel's settings, server side.
    StandinIn {
        /// HBONE address.
        #[arg(long)]
        listen: SocketAddr,
        /// Directory of the certificates.
        #[arg(long)]
        pki: PathBuf,
        /// Worker threads; 1 is a current-thread runtime.
        #[arg(long, default_value_t = 1)]
        workers: usize,
    },
}

/// Anything that ends the bench with a message.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::E2e(options) => harness::run(&options),
        Command::Waypoint(options) => waypoint::run(&options),
        #[cfg(feature = "pods")]
        Command::Pods(options) => pods::run(&options),
        Command::Against(options) => harness::against(&options),
        Command::App { listen } => load::app(listen),
        Command::Copy { listen, to } => copy::run(listen, to),
        Command::StandinOut { listen, peer, target, pki, workers } => {
            standin::run(workers, standin::client(listen, peer, target, pki))
        }
        Command::StandinIn { listen, pki, workers } => standin::run(workers, standin::server(listen, pki)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("adit-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
