//! How many shards: upstream's rules for worker threads, from explicit numbers, CPU limits and the machine.
use std::num::NonZeroUsize;

use super::read::Reader;
use super::value::CpuQuantity;

/// The machine's logical processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cpus(
    /// How many.
    pub NonZeroUsize,
);

impl Cpus {
    /// What the system says this process may use; 1 when it says nothing.
    #[must_use]
    pub fn detect() -> Self {
        Self(std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
    }
}

/// What `ZTUNNEL_WORKER_THREADS` asks for.
enum Asked {
    Number(NonZeroUsize),
    All,
    Percent(usize),
}

fn asked(reader: &mut Reader<'_>) -> Option<Asked> {
    const NAME: &str = "ZTUNNEL_WORKER_THREADS";
    let value = reader.text(NAME)?;
    let asked = match value.strip_suffix('%') {
        Some(percent) => percent.parse().ok().filter(|p| (1..=100).contains(p)).map(Asked::Percent),
        None => value.parse().ok().map(|n| NonZeroUsize::new(n).map_or(Asked::All, Asked::Number)),
    };
    if asked.is_none() {
        reader.refuse(
            NAME,
            Some(value),
            "a number of threads, `0` for one per CPU, or a share of them such as `50%`",
        );
    }
    asked
}

/// The first rule that applies: `ZTUNNEL_WORKER_THREADS`; `concurrency` of `PROXY_CONFIG`; the CPU limit, raised to the request; else a quarter of the
/// CPUs, the request, or 2, whichever is most. Percentages are of `ZTUNNEL_RESOURCE_CPU_LIMIT`, else of
/// `ZTUNNEL_CPU_LIMIT`, else of the machine.
pub(super) fn count(reader: &mut Reader<'_>, cpus: Cpus, concurrency: Option<usize>) -> NonZeroUsize {
    let quantity =
        |reader: &mut Reader<'_>, name| reader.parsed(name).and_then(|CpuQuantity(n)| NonZeroUsize::new(n));
    let limit = quantity(reader, "ZTUNNEL_RESOURCE_CPU_LIMIT");
    let request = quantity(reader, "ZTUNNEL_RESOURCE_CPU_REQUEST");
    let hint = quantity(reader, "ZTUNNEL_CPU_LIMIT");
    let all = limit.or(hint).unwrap_or(cpus.0);
    let share = |percent: usize| {
        NonZeroUsize::new(all.get().saturating_mul(percent).div_ceil(100)).unwrap_or(NonZeroUsize::MIN)
    };
    let concurrency = concurrency.map(|n| NonZeroUsize::new(n).map_or(Asked::All, Asked::Number));
    match (asked(reader).or(concurrency), limit) {
        (Some(Asked::Number(number)), _) => number,
        (Some(Asked::All), _) => all,
        (Some(Asked::Percent(percent)), _) => share(percent),
        (None, Some(limit)) => request.map_or(limit, |request| request.max(limit)),
        (None, None) => {
            let two = NonZeroUsize::MIN.saturating_add(1);
            share(25).max(request.unwrap_or(two)).max(two)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Variables, CPUs of the machine, threads expected.
    type Case<'a> = (&'a [(&'a str, &'a str)], usize, usize);

    #[test]
    fn the_first_rule_that_applies_decides() {
        const ASK: &str = "ZTUNNEL_WORKER_THREADS";
        const LIMIT: &str = "ZTUNNEL_RESOURCE_CPU_LIMIT";
        const REQUEST: &str = "ZTUNNEL_RESOURCE_CPU_REQUEST";
        const HINT: &str = "ZTUNNEL_CPU_LIMIT";
        let cases: &[Case<'_>] = &[
            (&[], 1, 2),
            (&[], 8, 2),
            (&[], 9, 3),
            (&[(ASK, "4")], 2, 4),
            (&[(ASK, "50%")], 8, 4),
            (&[(ASK, "50%")], 7, 4),
            (&[(ASK, "1%")], 7, 1),
            (&[(ASK, "0")], 8, 8),
            (&[(ASK, "0"), (HINT, "3")], 8, 3),
            (&[(ASK, "50%"), (LIMIT, "10"), (HINT, "3")], 8, 5),
            (&[(ASK, "1"), (LIMIT, "10")], 8, 1),
            (&[(LIMIT, "1500m")], 8, 2),
            (&[(LIMIT, "1")], 8, 1),
            (&[(LIMIT, "1"), (REQUEST, "3")], 8, 3),
            (&[(REQUEST, "3")], 4, 3),
            (&[(REQUEST, "200m")], 4, 2),
            (&[(HINT, "16")], 4, 4),
        ];
        for (vars, cpus, expected) in cases {
            let map: BTreeMap<_, _> = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let mut reader = Reader::new(&map);
            let count = count(&mut reader, Cpus(NonZeroUsize::new(*cpus).unwrap()), None);
            assert_eq!(
                (count.get(), reader.finish(()).is_ok()),
                (*expected, true),
                "{vars:?} on {cpus} CPUs"
            );
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["x", "-1", "0%", "101%", "%", "1.5"] {
            let map = BTreeMap::from([("ZTUNNEL_WORKER_THREADS".to_owned(), bad.to_owned())]);
            let mut reader = Reader::new(&map);
            count(&mut reader, Cpus(NonZeroUsize::MIN), None);
            let text = reader.finish(()).unwrap_err().to_string();
            assert!(text.contains("ZTUNNEL_WORKER_THREADS") && text.contains(bad), "{text}");
        }
    }
}
