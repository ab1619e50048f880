//! What comes and goes beside the traffic: pods that stay for seconds, and pushes of policies, workloads and services.
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use adit_control::proto::istio::security::{Action, Scope};
use adit_testkit::istiod::ads::{ADDRESS, AUTHORIZATION, Ads};
use adit_testkit::netns::peer::Server;
use adit_testkit::netns::{Host, Result};

use crate::cluster::{Echo, app, shown, wait_tables, who_am_i};
use crate::resources::{captured, from, pod, policy, service, service_key, uid};
use crate::site::{Site, on};
use crate::world::{APP, FAMILIES, SERVICE};

/// Namespaces in which pods come and go.
const HOSTS: usize = 4;

/// Pods that are there at a time: fewer, so that a namespace is left alone for a moment.
const PRESENT: usize = 3;

/// Between two pods.
const BETWEEN: Duration = Duration::from_millis(500);

/// Pods without a place of their own until one of them is given a name and told of.
pub(crate) struct Guests(Vec<(Host, Server)>);

/// One that is there.
struct Guest {
    number: usize,
    open: [Echo; 2],
}

impl Guests {
    /// Makes the namespaces, with an application in each.
    pub(crate) fn hosts(site: &mut Site) -> Result<Self> {
        let host = |number: usize| {
            let host = site.cluster.pod(&format!("guest-{number}"))?;
            let app = app(&host)?;
            Ok((host, app))
        };
        (0..HOSTS).map(host).collect::<Result<_>>().map(Self)
    }

    /// Pods come to the first machine and go, each with a name and an identity that were never there before; how many.
    pub(crate) fn come_and_go(&self, site: &Site, end: Instant) -> Result<usize> {
        let mut present = VecDeque::new();
        let hosts = self.0.iter().cycle();
        let mut count = 0;
        for (number, (host, _)) in hosts.enumerate() {
            if Instant::now() >= end {
                break;
            }
            present.push_back(come(site, number, host)?);
            if present.len() == PRESENT
                && let Some(guest) = present.pop_front()
            {
                go(site, guest)?;
            }
            count = number + 1;
            std::thread::sleep(BETWEEN);
        }
        for guest in present {
            go(site, guest)?;
        }
        Ok(count)
    }
}

fn name(number: usize) -> String {
    format!("guest-{number}")
}

/// A pod is scheduled, enrolled, calls the others and is called by them.
fn come(site: &Site, number: usize, host: &Host) -> Result<Guest> {
    let name = name(number);
    let (home, away) = (&site.machines[0], &site.machines[1]);
    site.cluster.push([on("alpha", pod(&name, host))], [], []);
    home.add(&name, host.namespace())?;
    let far = site.pod("b1");
    for ipv6 in FAMILIES {
        let address = host.address(ipv6).to_string();
        assert_eq!(who_am_i(host, far.at(ipv6))?, Some(address), "{name}");
    }
    // Whoever still takes it for the pod that was here before will not believe that it is this one.
    for machine in [home, away] {
        wait_tables(&machine.host, &name, |tables| shown(tables, &name).is_some())?;
    }
    for from in [far, site.pod("a1")] {
        let address = from.host.address(false).to_string();
        assert_eq!(who_am_i(&from.host, (host.address(false), APP))?, Some(address), "{name}");
    }
    let open =
        [Echo::open(host, far.at(true))?, Echo::open(&far.host, SocketAddr::new(host.address(true), APP))?];
    Ok(Guest { number, open })
}

/// A pod goes, its connections before it or with it.
fn go(site: &Site, mut guest: Guest) -> Result<()> {
    let (name, home) = (name(guest.number), &site.machines[0]);
    for open in &mut guest.open {
        open.exchange("still here")?;
    }
    if guest.number.is_multiple_of(2) {
        drop(guest.open);
        home.del(&name);
    } else {
        home.del(&name);
        guest.open.into_iter().for_each(Echo::wait_cut);
    }
    site.cluster.istiod.ads.remove(ADDRESS, [&*uid(&name)]);
    Ok(())
}

/// Pushes that change what the proxies know, and nothing of who may call whom.
pub(crate) struct Pushes;

impl Pushes {
    /// Pushes until `end`; how many.
    pub(crate) fn run(ads: &Ads, end: Instant) -> usize {
        const BETWEEN: Duration = Duration::from_millis(200);
        const NAMES: usize = 50;
        let mut count = 0;
        while Instant::now() < end {
            let (new, old) = (count % NAMES, (count + NAMES / 2) % NAMES);
            let [.., high, low] = u32::try_from(count).unwrap_or_default().to_be_bytes();
            let bystander = captured(&format!("bystander-{new}"), vec![vec![10, 88, high, low]]);
            ads.set_workloads([on("elsewhere", bystander)]);
            let number = 100 + u8::try_from(new).unwrap_or_default();
            ads.set_services([service(&format!("service-{new}"), number, (SERVICE, APP))]);
            let nobody = vec![from(&format!("nobody-{count}"))];
            ads.set_policies([policy(
                &format!("default/policy-{new}"),
                Scope::Namespace,
                Action::Deny,
                nobody,
            )]);
            ads.remove(
                ADDRESS,
                [&*uid(&format!("bystander-{old}")), &*service_key(&format!("service-{old}"))],
            );
            ads.remove(AUTHORIZATION, [&*format!("default/policy-{old}")]);
            count += 1;
            std::thread::sleep(BETWEEN);
        }
        count
    }
}
