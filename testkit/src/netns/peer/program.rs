//! The command line of `adit-peer`.
use std::io::BufRead;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::watch;

use super::load::Load;
use super::{client, server};

const USAGE: &str = "\
adit-peer server ADDRESS...                     serve; prints the number of open connections for each line on stdin
adit-peer client ADDRESS SCRIPT...              play one script
adit-peer load CONNECTIONS OCTETS SECONDS SOCKS5 ADDRESS   many connections by SOCKS5
adit-peer ready ADDRESS                         wait for /healthz/ready";

/// Runs the program with the process's arguments. The last line it prints is `well ...` or how things ended instead.
#[must_use]
pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(words: &[String]) -> Result<(), String> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .map_err(|error| format!("raising the limit of descriptors: {error}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("starting tokio: {error}"))?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["server", addresses @ ..] => {
            let addresses = addresses.iter().map(|word| address(word)).collect::<Result<Vec<_>, _>>()?;
            let open = Arc::<AtomicUsize>::default();
            let counted = Arc::clone(&open);
            on_each_line(move || println!("serving {}", counted.load(Ordering::Relaxed)));
            runtime.block_on(server::serve(addresses, open)).map_err(|error| error.to_string())
        }
        ["client", to, script @ ..] => {
            let script = script.join(" ").parse()?;
            match runtime.block_on(client::play(address(to)?, script)) {
                Ok(detail) => println!("well {detail}"),
                Err(end) => println!("{end}"),
            }
            Ok(())
        }
        ["load", connections, octets, seconds, via, to] => {
            let load = Load {
                connections: number(connections)?,
                octets: number(octets)?,
                patience: Duration::from_secs(number(seconds)?),
                via: address(via)?,
                to: address(to)?,
            };
            let (step, steps) = watch::channel(0);
            on_each_line(move || step.send_modify(|step| *step += 1));
            let ends = runtime.block_on(load.run(steps));
            let ends: Vec<String> = ends.iter().map(|(end, count)| format!("{end}={count}")).collect();
            println!("ended {}", ends.join(" "));
            Ok(())
        }
        ["ready", at] => match runtime.block_on(client::ready(address(at)?, Duration::from_secs(15))) {
            Ok(detail) => {
                println!("well {detail}");
                Ok(())
            }
            Err(end) => Err(format!("{at} is not ready: {end}")),
        },
        _ => Err("unknown arguments".to_owned()),
    }
}

fn address(word: &str) -> Result<SocketAddr, String> {
    word.parse().map_err(|_| format!("{word:?} is not an address with a port"))
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("{word:?} is not a number"))
}

/// Stdin is read by a thread, which ends with the process or when the parent closes it.
fn on_each_line(mut act: impl FnMut() + Send + 'static) {
    std::thread::spawn(move || {
        for _ in std::io::stdin().lock().lines().map_while(Result::ok) {
            act();
        }
        // Keeps what `act` owns until the process ends.
        std::thread::park();
    });
}
