//! A pod is deleted under live connections: they end, nothing of it is left, and who else serves takes over.
use adit_testkit::netns::{Echo, wait_until};

use crate::cluster::{APP, Cluster, FAMILIES};
use crate::scenarios::service::{service, share};
use crate::{Result, SOON};

/// Two rounds on machine 2, whose descriptors and certificates are counted before and after; then the Service is the other's.
pub(crate) fn leaves_nothing(cluster: &mut Cluster, space: &str) -> Result<()> {
    cluster.label(space, true)?;
    cluster.plane.kube.apply(&service(space, "server"))?;
    let (client, stays) = (cluster.pod(space, "client", 0)?, cluster.pod(space, "server-1", 0)?);
    // So that the machine's proxy has served a pod before anything is counted.
    let neighbour = cluster.pod(space, "neighbour", 1)?;
    cluster.wait_meshed(&[&client, &stays, &neighbour])?;
    let vips = cluster.vips(space, "server")?;
    for ipv6 in FAMILIES {
        client.wait_call("the neighbour", neighbour.at(ipv6, APP), true)?;
        neighbour.wait_call("the server", stays.at(ipv6, APP), true)?;
    }
    let mut unharmed = Echo::open(&client.host, neighbour.at(true, APP))?;
    let before = cluster.machines[1].proxy.process().descriptors()?;
    for round in 2..4 {
        let goes = cluster.pod(space, &format!("server-{round}"), 1)?;
        cluster.wait_meshed(&[&goes])?;
        let shares = share(&client, vips[0], [&stays, &goes])?;
        assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
        assert!(goes.call(stays.at(false, APP))?);
        let mut open = Vec::new();
        for ipv6 in FAMILIES {
            open.push(Echo::open(&client.host, goes.at(ipv6, APP))?);
            open.push(Echo::open(&goes.host, stays.at(ipv6, APP))?);
        }
        assert!(cluster.machines[1].certificates().contains(&goes.identity()));

        cluster.delete(&goes)?;
        for open in open {
            open.wait_cut();
        }
        cluster.wait_let_go(&goes)?;
        let machine = &cluster.machines[1];
        let gone = || !machine.certificates().contains(&goes.identity());
        wait_until("its certificate is gone", SOON, gone, || format!("{:?}", machine.certificates()))?;
        let listening = goes.host.namespace().run("ss -Hltun ( sport >= :15000 and sport <= :15100 )")?;
        assert_eq!(listening, "", "its listeners are still there");
        let descriptors = || machine.proxy.process().descriptors().unwrap_or(usize::MAX);
        wait_until(
            &format!("{before} descriptors"),
            SOON,
            || descriptors() <= before,
            || descriptors().to_string(),
        )?;
        cluster.wait_known(&goes, "is gone", |known| known.is_none())?;
        for vip in vips {
            assert_eq!(share(&client, vip, [&stays, &goes])?[1], 0);
        }
        unharmed.exchange("still here")?;
    }
    Ok(())
}
