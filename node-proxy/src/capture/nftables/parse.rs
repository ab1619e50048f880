//! What `nft -n -s list ruleset inet` prints, as far as it is about our tables.
use std::net::IpAddr;

use super::{PREFIX, base, header, own};
use crate::capture::model::{Action, Chain, Family, Hook, Mark, Match, Protocol, Rule, Table};
use crate::capture::observed::{Line, Observed};

/// What was listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Our chains.
    pub observed: Observed,
    /// Our tables that exist.
    pub tables: Vec<Table>,
    /// What else is in our tables: then they are those of a node, not of a pod.
    pub foreign: Vec<String>,
}

/// What the lines between two braces belong to.
#[derive(Clone, Copy, Debug)]
enum Block {
    Table(Table),
    Base(Chain),
    Own(Chain),
    /// Somebody else's.
    Foreign,
}

/// Reads `text`. `families`: which ones a rule without addresses counts for.
#[must_use]
pub(crate) fn parse(text: &str, families: &[Family]) -> Listed {
    let mut listed = Listed::default();
    let mut blocks: Vec<Block> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(head) = line.strip_suffix('{') {
            let head = head.trim();
            let block = open(blocks.last().copied(), head);
            if let Block::Table(table) = block {
                listed.tables.push(table);
            }
            let ours = matches!(blocks.last(), Some(Block::Table(_)));
            match block {
                Block::Own(chain) => {
                    families.iter().for_each(|family| {
                        listed.observed.chain_mut(*family, chain);
                    });
                }
                Block::Foreign if ours => listed.foreign.push(head.to_owned()),
                _ => {}
            }
            blocks.push(block);
        } else if line == "}" {
            blocks.pop();
        } else if !line.is_empty() {
            match blocks.last() {
                Some(Block::Base(chain)) => in_base(&mut listed.observed, *chain, line, families),
                Some(Block::Own(chain)) => in_own(&mut listed.observed, *chain, line, families),
                Some(Block::Table(_)) => listed.foreign.push(line.to_owned()),
                Some(Block::Foreign) | None => {}
            }
        }
    }
    listed
}

fn open(inside: Option<Block>, head: &str) -> Block {
    match inside {
        None => {
            let name = head.strip_prefix("table inet ").and_then(|name| name.strip_prefix(PREFIX));
            let table = Table::ALL.into_iter().find(|table| name == Some(table.to_string().as_str()));
            table.map_or(Block::Foreign, Block::Table)
        }
        Some(Block::Table(table)) => {
            let name = head.strip_prefix("chain ").unwrap_or_default();
            let chains = Hook::ALL.map(|hook| Chain::new(table, hook));
            let named =
                |which: fn(Hook) -> &'static str| chains.into_iter().find(|it| which(it.hook) == name);
            match (named(base), named(own)) {
                (Some(chain), _) => Block::Base(chain),
                (_, Some(chain)) => Block::Own(chain),
                _ => Block::Foreign,
            }
        }
        // An anonymous set in a rule that spans lines, or anything in what is not ours.
        Some(block) => block,
    }
}

fn in_base(observed: &mut Observed, chain: Chain, line: &str, families: &[Family]) {
    let is_header = line.starts_with("type ");
    for family in families {
        let seen = observed.chain_mut(*family, chain);
        if is_header {
            if line != format!("{}; policy accept;", header(chain)) {
                seen.beside.push(line.to_owned());
            }
        } else if line == format!("jump {}", own(chain.hook))
            || line == format!("counter jump {}", own(chain.hook))
        {
            seen.jumps += 1;
        } else {
            seen.beside.push(line.to_owned());
        }
    }
}

fn in_own(observed: &mut Observed, chain: Chain, line: &str, families: &[Family]) {
    let rule = rule(line);
    let only = rule.as_ref().and_then(|(family, rule)| family.or_else(|| rule.family()));
    for family in families.iter().filter(|family| only.is_none_or(|only| only == **family)) {
        let line =
            rule.as_ref().map_or_else(|| Line::Other(line.to_owned()), |(_, rule)| Line::Rule(rule.clone()));
        observed.chain_mut(*family, chain).lines.push(line);
    }
}

/// A rule of the kinds that we write, and the family it says it is for.
fn rule(line: &str) -> Option<(Option<Family>, Rule)> {
    let mut words = Words(line.split_whitespace().collect());
    let mut matches = Vec::new();
    let mut family = None;
    loop {
        match words.next()? {
            "counter" => {
                if words.skip("packets") {
                    words.next()?;
                    words.skip("bytes").then_some(())?;
                    words.next()?;
                }
            }
            "ip" | "ip6" => match words.next()? {
                "saddr" => matches.push(Match::Source(words.host()?)),
                "daddr" => {
                    let not = words.not();
                    matches.push(Match::Destination { address: words.host()?, not });
                }
                "protocol" | "nexthdr" => matches.push(Match::Protocol(words.protocol()?)),
                _ => return None,
            },
            "iifname" => matches.push(Match::Input(words.interface()?)),
            "oifname" => {
                let not = words.not();
                matches.push(Match::Output { interface: words.interface()?, not });
            }
            transport @ ("tcp" | "udp") => {
                matches.push(Match::Protocol(protocol(transport)?));
                let side = words.next()?;
                let not = words.not();
                let port = words.next()?.parse().ok()?;
                matches.push(match (side, not) {
                    ("sport", false) => Match::SourcePort(port),
                    ("dport", not) => Match::DestinationPort { port, not },
                    _ => return None,
                });
            }
            "mark" => matches.push(words.mark()?),
            "meta" => match words.next()? {
                "l4proto" => matches.push(Match::Protocol(words.protocol()?)),
                "nfproto" => {
                    family = Some(match words.next()? {
                        "ipv4" | "2" => Family::V4,
                        "ipv6" | "10" => Family::V6,
                        _ => return None,
                    });
                }
                "mark" if words.skip("set") => {
                    let whole = words.skip("ct") && words.skip("mark");
                    return words.end(family, matches, whole.then_some(Action::RestoreMark)?);
                }
                "mark" => matches.push(words.mark()?),
                _ => return None,
            },
            "ct" => match words.next()? {
                "zone" => {
                    words.skip("set").then_some(())?;
                    let zone = number(words.next()?)?;
                    return words.end(family, matches, Action::Zone(zone.try_into().ok()?));
                }
                "mark" if words.skip("set") => {
                    let (keeps, value) = words.kept_and_set()?;
                    // Bits that are kept and set all the same are set: nft lists `& 0xfffff111 | 0x111` for what we write.
                    let mark = Mark { value, mask: !keeps | value };
                    return words.end(family, matches, Action::SetConnectionMark(mark));
                }
                "mark" => match words.mark()? {
                    Match::Mark { mark, not: false } => matches.push(Match::ConnectionMark(mark)),
                    _ => return None,
                },
                _ => return None,
            },
            "redirect" => {
                words.skip("to").then_some(())?;
                let port = words.next()?.strip_prefix(':')?.parse().ok()?;
                return words.end(family, matches, Action::Redirect(port));
            }
            "accept" => return words.end(family, matches, Action::Accept),
            "return" => return words.end(family, matches, Action::Return),
            _ => return None,
        }
    }
}

/// What is left of a line.
struct Words<'a>(std::collections::VecDeque<&'a str>);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        self.0.pop_front()
    }

    /// Takes `word` if it comes next.
    fn skip(&mut self, word: &str) -> bool {
        let here = self.0.front() == Some(&word);
        if here {
            self.0.pop_front();
        }
        here
    }

    fn not(&mut self) -> bool {
        let not = self.skip("!=");
        // Equality needs no sign.
        let _ = not || self.skip("==");
        not
    }

    fn host(&mut self) -> Option<IpAddr> {
        let word = self.next()?;
        word.split_once('/').map_or(word, |(address, _)| address).parse().ok().filter(|address: &IpAddr| {
            let whole = if address.is_ipv4() { "/32" } else { "/128" };
            !word.contains('/') || word.ends_with(whole)
        })
    }

    fn interface(&mut self) -> Option<crate::capture::model::Interface> {
        self.next()?.trim_matches('"').parse().ok()
    }

    fn protocol(&mut self) -> Option<Protocol> {
        protocol(self.next()?)
    }

    /// `& MASK == VALUE`, or another comparison; `mark` itself has been taken.
    fn mark(&mut self) -> Option<Match> {
        (self.skip("&") || self.skip("and")).then_some(())?;
        let mask = number(self.next()?)?;
        let not = self.not();
        Some(Match::Mark { mark: Mark { value: number(self.next()?)?, mask }, not })
    }

    /// `ct mark & KEPT | SET`; newer versions write brackets.
    fn kept_and_set(&mut self) -> Option<(u32, u32)> {
        let rest: String = self.0.drain(..).collect::<Vec<_>>().join(" ").replace(['(', ')'], "");
        let rest = rest.strip_prefix("ct mark ")?.replace(" and ", " & ").replace(" or ", " | ");
        let (kept, set) =
            rest.strip_prefix("& ")?.split_once('|').or_else(|| rest.strip_prefix("& ")?.split_once('^'))?;
        Some((number(kept.trim())?, number(set.trim())?))
    }

    /// The rule, if nothing comes behind its action.
    fn end(
        &self,
        family: Option<Family>,
        matches: Vec<Match>,
        action: Action,
    ) -> Option<(Option<Family>, Rule)> {
        self.0.is_empty().then(|| (family, Rule::new(matches, action)))
    }
}

fn protocol(text: &str) -> Option<Protocol> {
    match text {
        "tcp" | "6" => Some(Protocol::Tcp),
        "udp" | "17" => Some(Protocol::Udp),
        _ => None,
    }
}

fn number(text: &str) -> Option<u32> {
    text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok())
}
