//! The route by which answers to borrowed addresses come back to the proxy (interfaces §3.6), by `ip`.
use super::model::{Family, Mark};
use super::tools::Step;

/// Our routing table.
const TABLE: &str = "100";
/// Where in the order of routing rules ours stands.
const PREFERENCE: &str = "32764";

/// What a namespace has of it, for one family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Routes {
    /// Packets with the mark of borrowed addresses look into our table.
    pub rule: bool,
    /// In which everything is local.
    pub route: bool,
}

impl Routes {
    /// As it should be.
    pub(super) const WHOLE: Self = Self { rule: true, route: true };
}

/// The two parts, as `ip` takes them behind `add` and `del`.
fn parts() -> [Vec<String>; 2] {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    [
        words(&format!("rule VERB fwmark {} pref {PREFERENCE} lookup {TABLE}", Mark::BORROWED)),
        words(&format!("route VERB local default dev lo table {TABLE}")),
    ]
}

const fn flag(family: Family) -> &'static str {
    match family {
        Family::V4 => "-4",
        Family::V6 => "-6",
    }
}

/// The steps from `seen` to `wanted`.
#[must_use]
pub(super) fn steps(family: Family, seen: Routes, wanted: Routes) -> Vec<Step> {
    let [rule, route] = parts();
    // First where to look, then who looks there; and the other way round.
    let parts = [(route, seen.route, wanted.route), (rule, seen.rule, wanted.rule)];
    let changed = parts.into_iter().filter(|(_, seen, wanted)| seen != wanted);
    let steps = changed.map(|(words, _, add)| {
        let verb = if add { "add" } else { "del" };
        let words = words.into_iter().map(|word| if word == "VERB" { verb.to_owned() } else { word });
        Step::new("ip", std::iter::once(flag(family).to_owned()).chain(words))
    });
    steps.collect()
}

/// The commands whose answers [`parse`] reads: rules, then routes. The latter fails where there is no such table.
#[must_use]
pub(super) fn questions(family: Family) -> [Step; 2] {
    let step = |words: &[&str]| {
        Step::new("ip", std::iter::once(flag(family)).chain(words.iter().copied()).map(str::to_owned))
    };
    // Numbers, as a table may have a name (/etc/iproute2/rt_tables).
    [step(&["-N", "rule", "show"]), step(&["route", "show", "table", TABLE])]
}

/// Whether a failure of the second question says that there is no such table.
#[must_use]
pub(super) fn is_no_table(output: &str) -> bool {
    output.contains("FIB table does not exist")
}

/// Reads what `ip rule show` and `ip route show table 100` print.
#[must_use]
pub(super) fn parse(rules: &str, routes: &str) -> Routes {
    let has = |line: &str, wanted: &[&str]| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.windows(wanted.len()).any(|here| here == wanted)
    };
    let mark = Mark::BORROWED.to_string();
    let rule = |line: &str| {
        line.starts_with(&format!("{PREFERENCE}:"))
            && has(line, &["from", "all", "fwmark", &mark, "lookup", TABLE])
    };
    let route = |line: &str| has(line, &["local", "default", "dev", "lo"]);
    Routes { rule: rules.lines().any(rule), route: routes.lines().any(route) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ip_prints_is_read() {
        let rules = "0:\tfrom all lookup local\n32764:\tfrom all fwmark 0x111/0xfff lookup 100\n32766:\tfrom all lookup main\n";
        for route in ["local default dev lo scope host \n", "local default dev lo metric 1024 pref medium\n"]
        {
            assert_eq!(parse(rules, route), Routes::WHOLE);
        }
        assert_eq!(parse(rules, ""), Routes { rule: true, route: false });
        assert_eq!(parse(rules, "default via 10.0.0.1 dev eth0\n"), Routes { rule: true, route: false });
        for other in [
            "32764:\tfrom all fwmark 0x112/0xfff lookup 100\n",
            "32764:\tfrom all fwmark 0x111/0xfff lookup 101\n",
            "32765:\tfrom all fwmark 0x111/0xfff lookup 100\n",
            "32764:\tfrom 10.0.0.1 fwmark 0x111/0xfff lookup 100\n",
            "32764:\tfrom all fwmark 0x111/0xfff iif eth0 lookup 100\n",
            "",
        ] {
            assert!(!parse(other, "").rule, "{other}");
        }
    }

    #[test]
    fn only_what_differs_is_changed() {
        let words = |seen, wanted| {
            let steps = steps(Family::V6, seen, wanted);
            steps.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let none = Routes::default();
        let add = [
            "ip -6 route add local default dev lo table 100",
            "ip -6 rule add fwmark 0x111/0xfff pref 32764 lookup 100",
        ];
        assert_eq!(words(none, Routes::WHOLE), add);
        assert_eq!(words(Routes { rule: true, route: false }, Routes::WHOLE), add[..1]);
        assert_eq!(words(Routes { rule: true, route: false }, none), [add[1].replace("add", "del")]);
        assert!(words(Routes::WHOLE, Routes::WHOLE).is_empty() && words(none, none).is_empty());
    }
}
