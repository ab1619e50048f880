//! A Service with two pods, one on each machine: both are reached, only those that are ready, and its name is answered.
use std::net::{IpAddr, UdpSocket};

use adit_testkit::netns::{HarnessError, Host};
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};

use crate::cluster::{Cluster, FAMILIES, Pod, SERVICE};
use crate::{Result, SOON};

/// More than it takes to reach each of two with all but certainty.
const CALLS: usize = 60;

/// A Service in front of the pods of that name.
pub(super) fn service(space: &str, name: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {space}}}
spec: {{selector: {{app: {name}}}, ipFamilyPolicy: RequireDualStack, ports: [{{name: tcp, port: {SERVICE}, targetPort: 8080, protocol: TCP}}]}}
"#
    )
}

/// How many of so many calls each of two pods has answered, neither of which has anything else to do; all must go well.
pub(super) fn share(caller: &Pod, to: IpAddr, pods: [&Pod; 2]) -> Result<[usize; 2]> {
    let answered = || -> Result<[usize; 2]> {
        // Only then is each call's line there.
        pods.iter().try_for_each(|pod| pod.app.wait_idle(SOON))?;
        Ok(pods.map(Pod::answered))
    };
    let before = answered()?;
    for call in 0..CALLS {
        if !caller.call((to, SERVICE))? {
            return Err(format!("call {call} to {to} failed").into());
        }
    }
    let after = answered()?;
    let shares = [0, 1].map(|number: usize| after[number] - before[number]);
    assert_eq!(shares.iter().sum::<usize>(), CALLS, "who has answered?");
    Ok(shares)
}

/// Both pods are reached from either machine and by either family; one that is not ready is not.
pub(crate) fn reaches_both_nodes(cluster: &mut Cluster, space: &str) -> Result<()> {
    cluster.label(space, true)?;
    cluster.plane.kube.apply(&service(space, "server"))?;
    let (client, visitor) = (cluster.pod(space, "client", 0)?, cluster.pod(space, "visitor", 1)?);
    let servers = [cluster.pod(space, "server-1", 0)?, cluster.pod(space, "server-2", 1)?];
    let [first, second] = &servers;
    cluster.wait_meshed(&[&client, &visitor, first, second])?;
    let vips = cluster.vips(space, "server")?;
    for caller in [&client, &visitor] {
        for vip in vips {
            caller.wait_call("the service is known", (vip, SERVICE).into(), true)?;
            let shares = share(caller, vip, [first, second])?;
            assert!(shares.iter().all(|share| *share > 0), "{} reaches {vip} by {shares:?}", caller.name);
        }
    }

    let name = format!("server.{space}.svc.cluster.local.");
    for (ipv6, vip) in FAMILIES.into_iter().zip(vips) {
        for caller in [&client, &visitor] {
            assert_eq!(resolve(&caller.host, &name, ipv6)?, vec![vip], "{name} for {}", caller.name);
        }
    }

    for (ready, unready) in [(first, second), (second, first)] {
        cluster.set_ready(unready, false)?;
        cluster.wait_known(unready, "is not healthy", |known| {
            known.is_some_and(|known| known["status"] == "Unhealthy")
        })?;
        for vip in vips {
            assert_eq!(share(&client, vip, [ready, unready])?, [CALLS, 0]);
        }
        cluster.set_ready(unready, true)?;
        cluster.wait_known(unready, "is healthy", |known| {
            known.is_some_and(|known| known["status"] == "Healthy")
        })?;
    }
    Ok(())
}

/// The addresses that `name` has for applications on `host`, whoever they ask.
fn resolve(host: &Host, name: &str, ipv6: bool) -> Result<Vec<IpAddr>> {
    let kind = if ipv6 { RecordType::AAAA } else { RecordType::A };
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(Name::from_ascii(name)?, kind));
    let question = question.to_vec()?;
    let asked = host.namespace().enter(|| {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        socket.set_read_timeout(Some(SOON))?;
        // Where a cluster's name server would be.
        socket.send_to(&question, ("10.96.0.10", 53))?;
        let mut answer = vec![0; 4096];
        let (length, _) = socket.recv_from(&mut answer)?;
        answer.truncate(length);
        Ok(answer)
    })?;
    let answer = Message::from_vec(&asked.map_err(HarnessError::io(format!("asking for {name}")))?)?;
    let addresses = answer.answers.iter().filter_map(|record| match &record.data {
        RData::A(address) => Some(address.0.into()),
        RData::AAAA(address) => Some(address.0.into()),
        _ => None,
    });
    Ok(addresses.collect())
}
