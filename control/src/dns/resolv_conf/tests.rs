//! Files as they are found in pods and on machines, and broken ones.
use super::*;

fn parse(text: &str) -> Result<ResolvConf, ResolvConfError> {
    ResolvConf::parse(text, |interface| (interface == "eth0").then_some(7))
}

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn a_pods_file() {
    let conf = parse(
        "search ns1.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n",
    );
    let conf = conf.unwrap();
    assert_eq!(conf.servers, addresses(&["10.96.0.10:53"]));
    assert_eq!(conf.search.join(" "), "ns1.svc.cluster.local svc.cluster.local cluster.local");
    assert_eq!((conf.timeout, conf.attempts, conf.rotate), (Duration::from_secs(5), 2, false));
}

#[test]
fn a_machines_file() {
    let conf = parse(
        "# made by hand\n; both kinds of comment\n\ndomain old.example\nsearch A.Example. b.example ; and more\n\
         nameserver\t192.0.2.1 # first\nnameserver 2001:db8::1\nnameserver fe80::1%eth0\nnameserver 192.0.2.4\n\
         sortlist 10.0.0.0\noptions timeout:2 attempts:3 rotate edns0 trust-ad\n",
    );
    let conf = conf.unwrap();
    let expected = addresses(&["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%7]:53"]);
    assert_eq!(conf.servers, expected, "the fourth is one too many");
    assert_eq!(conf.search.join(" "), "a.example b.example");
    let relay = conf.forwarder();
    assert_eq!((relay.timeout, relay.rounds, relay.rotate), (Duration::from_secs(2), 3, true));
    assert_eq!(relay.servers, expected);
}

#[test]
fn numbers_stay_within_bounds() {
    for (options, timeout, attempts) in [("timeout:0 attempts:0", 1, 1), ("timeout:100 attempts:100", 30, 5)]
    {
        let conf = parse(&format!("nameserver ::1\noptions {options}\n")).unwrap();
        assert_eq!((conf.timeout.as_secs(), conf.attempts), (timeout, attempts));
    }
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    for (text, expected) in [
        (
            "",
            "resolv.conf names no server to relay DNS questions to; add a line such as `nameserver 10.96.0.10`",
        ),
        (
            "search x\nnameserver dns.example\n",
            "resolv.conf line 2: `dns.example` is no address of a name server; write one such as `nameserver 10.96.0.10`",
        ),
        ("nameserver", "resolv.conf line 1: `` is no address"),
        ("nameserver fe80::1%wlan9", "resolv.conf line 1: `wlan9` is no network interface"),
        ("nameserver 1.2.3.4%eth0", "resolv.conf line 1: `1.2.3.4%eth0` is no address"),
        ("nameserver ::1\noptions timeout:soon", "resolv.conf line 2: option `timeout:soon` needs a number"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{text:?}: {error}");
    }
    let error = ResolvConf::load(Path::new("/does/not/exist")).unwrap_err().to_string();
    assert!(error.starts_with("cannot read /does/not/exist: "), "{error}");
}
