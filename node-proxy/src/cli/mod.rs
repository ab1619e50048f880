//! The command line: commands, flags, help that is documentation, and exit codes.
use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use adit_ops::http::Origin;
use clap::{Args, Parser, Subcommand};

use crate::config::Runtime;
use crate::explain::To;
use crate::{capture, check, demo, explain, run};

mod capture_flags;
mod help;

pub use self::capture_flags::{Capture, CaptureRequest, CaptureVerb, Check, GoBool};

/// Adit's node proxy: tunnels the TCP traffic of Istio ambient workloads over HBONE (mutual TLS 1.3 and HTTP/2 CONNECT).
///
/// Try `adit-node demo`: it needs nothing but this binary.
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(name = "adit-node", version, disable_help_subcommand = false, arg_required_else_help = false)]
pub struct Cli {
    /// What to do; `proxy` when nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the node proxy, configured by environment variables (the default command)
    #[command(after_long_help = help::PROXY)]
    Proxy(Proxy),
    /// Start two proxies, two workloads and an entry for your own curl, all in this process, and show what happens
    #[command(after_long_help = help::DEMO)]
    Demo(Demo),
    /// Say what would become of a connection, and why: by the tables of a live proxy, or of a saved config_dump
    #[command(after_long_help = help::EXPLAIN)]
    Explain(Explain),
    /// Apply, verify or remove the redirection rules and routes of a captured pod, without istio-cni
    #[command(after_long_help = help::CAPTURE)]
    Capture(Capture),
    /// Prove that connections of a pod come to its proxy, and say what to do if they do not
    #[command(after_long_help = help::CHECK)]
    Check(Check),
    /// Print the version
    Version,
}

/// Flags of `proxy`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Proxy {
    /// Event loop to run on; overrides ADIT_RUNTIME
    #[arg(long, value_enum)]
    pub runtime: Option<Runtime>,
    /// Accepted for compatibility (Istio's chart passes `ztunnel`) and only logged
    #[arg(value_name = "ROLE")]
    pub extra: Vec<String>,
}

/// Flags of `demo`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Demo {
    /// Event loop to run on
    #[arg(long, value_enum, default_value = "tokio")]
    pub runtime: Runtime,
    /// Take the scripted tour instead of waiting for visitors: each step is verified, and the exit code is 0 only if
    /// every one was seen to work. Takes a few seconds, 30 at most.
    #[arg(long)]
    pub once: bool,
}

/// Flags of `explain`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Explain {
    /// The workload that connects: namespace/name, its uid, an address, or network/address
    #[arg(long, value_name = "WORKLOAD")]
    pub from: String,
    /// What it connects to: an address or a name of the mesh, and a port
    #[arg(long, value_name = "HOST:PORT")]
    pub to: To,
    /// Admin pages of the live proxy to ask
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:15000")]
    pub admin: Origin,
    /// Ask no proxy, but read a config_dump from this file (`-`: standard input); Adit's or ztunnel's
    #[arg(long, value_name = "FILE", conflicts_with = "admin")]
    pub dump: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// What stands for chance where one of several is drawn; another number may draw another
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

/// Runs the program with `args` (the program's own name first).
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<_> = args.into_iter().collect();
    // Upstream's code for an unknown command is 1; clap's own would be 2. Commands that answer say "no" with 1.
    let answers = ["explain", "capture", "check"];
    let answers = args.get(1).is_some_and(|command| answers.iter().any(|name| command == name));
    let failure = if answers { explain::NO_ANSWER } else { 1 };
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Failing to print the help leaves nothing better to do than to exit.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(failure) } else { ExitCode::SUCCESS };
        }
    };
    let result = match cli.command.unwrap_or_else(|| Command::Proxy(Proxy::default())) {
        Command::Proxy(proxy) => run::proxy(&proxy).map_err(|error| error.to_string()),
        Command::Demo(demo) => demo::main(&demo).map_err(|error| error.to_string()),
        Command::Explain(explain) => explain::run(&explain).map_err(|error| error.to_string()),
        Command::Capture(capture) => capture::run(&capture).map_err(|error| error.to_string()),
        Command::Check(check) => check::run(&check).map_err(|error| error.to_string()),
        Command::Version => {
            let _ = writeln!(std::io::stdout(), "adit-node {}", env!("CARGO_PKG_VERSION"));
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|error| {
        let (red, plain) = if std::io::stderr().is_terminal() { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
        let _ = writeln!(std::io::stderr(), "{red}error:{plain} {error}");
        ExitCode::from(failure)
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::capture::Choice;

    fn parse(args: &[&str]) -> Cli {
        Cli::try_parse_from([&["adit-node"], args].concat())
            .unwrap_or_else(|error| panic!("{args:?}: {error}"))
    }

    #[test]
    fn the_chart_s_command_line_and_no_command_at_all_run_the_proxy() {
        assert_eq!(parse(&[]).command, None);
        let proxy = |extra: &[&str], runtime| {
            Some(Command::Proxy(Proxy { runtime, extra: extra.iter().map(|&e| e.to_owned()).collect() }))
        };
        assert_eq!(parse(&["proxy"]).command, proxy(&[], None));
        assert_eq!(parse(&["proxy", "ztunnel"]).command, proxy(&["ztunnel"], None));
        assert_eq!(
            parse(&["proxy", "--runtime", "smol", "ztunnel"]).command,
            proxy(&["ztunnel"], Some(Runtime::Smol))
        );
    }

    #[test]
    fn demo_and_version() {
        assert_eq!(
            parse(&["demo"]).command,
            Some(Command::Demo(Demo { runtime: Runtime::Tokio, once: false }))
        );
        let smol = Demo { runtime: Runtime::Smol, once: true };
        assert_eq!(parse(&["demo", "--runtime", "smol", "--once"]).command, Some(Command::Demo(smol)));
        assert_eq!(parse(&["version"]).command, Some(Command::Version));
    }

    #[test]
    fn explanations() {
        let explain = |args: &[&str]| match parse(&[&["explain"], args].concat()).command {
            Some(Command::Explain(explain)) => explain,
            other => panic!("{other:?}"),
        };
        let asked = explain(&["--from", "a/b", "--to", "echo:80"]);
        assert_eq!(
            (asked.admin.to_string().as_str(), asked.dump, asked.json),
            ("http://127.0.0.1:15000", None, false)
        );
        assert_eq!((asked.to, asked.seed), (To::Name("echo".to_owned(), 80), 0));
        let asked = explain(&["--from", "u", "--to", "[::1]:8", "--dump", "-", "--json", "--seed", "7"]);
        assert_eq!((asked.dump, asked.json, asked.seed), (Some("-".into()), true, 7));
        assert_eq!(asked.to, To::Address("[::1]:8".parse().unwrap()));
    }

    #[test]
    fn captures() {
        let capture = |args: &[&str]| match parse(&[&["capture"], args].concat()).command {
            Some(Command::Capture(capture)) => capture,
            other => panic!("{other:?}"),
        };
        let request = |dns, ingress, interfaces: &[&str]| CaptureRequest {
            backend: Choice::Auto,
            dns_capture: GoBool(dns),
            bypass_inbound_capture: GoBool(ingress),
            reroute_virtual_interfaces: interfaces.iter().map(|name| name.parse().unwrap()).collect(),
            ipv4_only: false,
        };
        let verify = |request| CaptureVerb::Verify { request };
        let netns = Some("/proc/1/ns/net".into());
        for (args, expected) in [
            (&["verify"][..], Capture { netns: None, verb: verify(request(true, false, &[])) }),
            (
                &["--netns", "/proc/1/ns/net", "verify", "--dns-capture=F", "--bypass-inbound-capture"],
                Capture { netns: netns.clone(), verb: verify(request(false, true, &[])) },
            ),
            (
                &[
                    "verify",
                    "--dns-capture",
                    "1",
                    "--reroute-virtual-interfaces",
                    "a,b",
                    "--netns",
                    "/proc/1/ns/net",
                ],
                Capture { netns, verb: verify(request(true, false, &["a", "b"])) },
            ),
            (
                &["apply", "--dry-run", "--ipv4-only", "--backend", "nftables"],
                Capture {
                    netns: None,
                    verb: CaptureVerb::Apply {
                        dry_run: true,
                        request: CaptureRequest {
                            backend: Choice::Nftables,
                            ipv4_only: true,
                            ..request(true, false, &[])
                        },
                    },
                },
            ),
            (&["remove"], Capture { netns: None, verb: CaptureVerb::Remove { dry_run: false } }),
        ] {
            assert_eq!(capture(args), expected, "{args:?}");
        }
    }

    #[test]
    fn checks() {
        let check = |args: &[&str]| match parse(&[&["check"], args].concat()).command {
            Some(Command::Check(check)) => check,
            other => panic!("{other:?}"),
        };
        assert_eq!(check(&[]), Check { netns: None, admin: None, no_probe: false, json: false });
        let admin = check(&["--json", "--admin"]).admin.map(|origin| origin.to_string());
        assert_eq!(admin.as_deref(), Some("http://127.0.0.1:15000"));
        let admin = check(&["--admin", "http://a:1"]).admin.map(|origin| origin.to_string());
        assert_eq!(admin.as_deref(), Some("http://a:1"));
        let look = check(&["--netns", "/n", "--no-probe"]);
        assert_eq!((look.netns, look.no_probe), (Some("/n".into()), true));
    }

    #[test]
    fn nonsense_fails_with_what_was_expected() {
        for (args, expected) in [
            (&["fly"][..], "unrecognized subcommand 'fly'"),
            (&["proxy", "--runtime", "glommio"], "tokio, smol"),
            (&["demo", "--twice"], "'--twice'"),
            (&["capture"], "apply"),
            (&["capture", "apply", "--dns-capture", "yes"], "expected true or false"),
            (&["capture", "apply", "--backend", "ebpf"], "auto, nftables, iptables"),
            (&["capture", "apply", "--reroute-virtual-interfaces", "eth+"], "names no interface"),
            (&["check", "--netns", "/n", "--admin"], "cannot be used with"),
            (&["check", "--no-probe", "--admin"], "cannot be used with"),
            (&["explain", "--to", "a:1"], "--from <WORKLOAD>"),
            (&["explain", "--from", "a", "--to", "a"], "expected HOST:PORT"),
            (
                &["explain", "--from", "a", "--to", "a:1", "--admin", "https://a:1"],
                "expected http://HOST:PORT",
            ),
            (
                &["explain", "--from", "a", "--to", "a:1", "--admin", "http://a:1", "--dump", "x"],
                "cannot be used with",
            ),
        ] {
            let error = Cli::try_parse_from([&["adit-node"], args].concat()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn help_is_well_formed_and_names_every_variable() {
        Cli::command().debug_assert();
        let mut command = Cli::command();
        let proxy = command.find_subcommand_mut("proxy").unwrap().render_long_help().to_string();
        for name in crate::config::variables() {
            assert!(proxy.contains(name), "`proxy --help` does not explain {name}");
        }
        for (name, words) in [
            ("capture", &["apply", "verify", "remove", "--netns", "PACKET_MARK", "Exit status"][..]),
            ("check", &["--admin", "--netns", "--no-probe", "--json", "192.0.2.1", "Exit status"]),
        ] {
            let help = command.find_subcommand_mut(name).unwrap().render_long_help().to_string();
            assert!(words.iter().all(|word| help.contains(word)), "`{name} --help` is not whole: {help}");
        }
        let explain = command.find_subcommand_mut("explain").unwrap().render_long_help().to_string();
        for word in ["--from", "--to", "--admin", "--dump", "--json", "--seed", "Exit status", "config_dump"]
        {
            assert!(explain.contains(word), "`explain --help` does not explain {word}");
        }
    }
}
