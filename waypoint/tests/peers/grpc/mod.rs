//! gRPC between tonic's client and tonic's server, through a GRPCRoute.
mod service;

use std::future::Future;
use std::time::Duration;

use adit_process::thread::TokioThread;
use adit_waypoint::demo::app::octets;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};

use self::service::{Client, GivenUp, Said};
use super::rig::{PATIENCE, Rig, echo, route};

const ECHO: &str = "adit.test.Echo";

const RULES: &str = "  rules:
  - matches: [{ method: { service: adit.test.Echo } }]
    filters:
    - { type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: x-routed, value: by-service }] } }
    - { type: ResponseHeaderModifier, responseHeaderModifier: { set: [{ name: x-answered, value: by-route }] } }
    backendRefs: [{ name: grpc, port: 80 }]
  - matches: [{ method: { service: adit.test.Gone } }]
    backendRefs: [{ name: nobody, port: 80 }]
  - matches: [{ method: { service: adit.test.Empty } }]
    backendRefs: [{ name: empty, port: 80 }]
";

const POLICY: &str = "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: p, namespace: demo }
spec:
  targetRefs: [{ group: '', kind: Service, name: grpc }]
  action: DENY
  rules: [{ to: [{ operation: { paths: [/adit.test.Echo/Denied] } }] }]
";

/// A mesh whose service `grpc` is a server of tonic's.
struct Peers {
    rig: Rig,
    _server: TokioThread,
}

impl Peers {
    fn new(last: u8) -> Self {
        Self::and_given_up(last).0
    }

    /// With what the server tells of calls that were given up.
    fn and_given_up(last: u8) -> (Self, UnboundedReceiver<GivenUp>) {
        let (told, given_up) = unbounded_channel();
        let (address, server) = service::start(last, told);
        let mut plan = echo();
        plan.servers = vec![("tonic", address, vec!["grpc"])];
        plan.empty = vec!["empty"];
        let rig = Rig::new(&plan, &(route("GRPCRoute", "grpc", "grpc", RULES) + POLICY));
        assert!(rig.world.problems.is_empty(), "{:?}", rig.world.problems);
        (Self { rig, _server: server }, given_up)
    }

    /// Runs `test` with a client.
    fn run<F: Future<Output = ()>>(&self, test: impl FnOnce(Client) -> F) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let entry = self.rig.entry("grpc", 80);
        let test = async { test(Client::new(entry, ECHO).await).await };
        runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.unwrap() });
    }
}

#[test]
fn calls_of_every_kind_are_answered() {
    let peers = Peers::new(50);
    peers.run(async |mut client| {
        let said = Said { text: "grüß Gott".to_owned(), number: 7, octets: Bytes::from_static(&[0, 255]) };
        assert_eq!(client.once(Request::new(said.clone())).await.unwrap().into_inner(), said);

        let all: Vec<_> = client.many(Said::number(100)).await.unwrap().map(Result::unwrap).collect().await;
        assert_eq!(all, (0..100).map(Said::number).collect::<Vec<_>>());
        let none = client.many(Said::number(0)).await.unwrap().count().await;
        assert_eq!(none, 0);

        let gathered = client.gather(stream::iter(0..100).map(Said::number).boxed()).await.unwrap();
        assert_eq!((gathered.number, gathered.text.as_str()), ((0..100).sum(), "0"));
        assert_eq!(client.gather(stream::empty().boxed()).await.unwrap().number, 0);

        // One message after the other: each is sent when the one before has come back.
        let (send, messages) = tokio::sync::mpsc::channel(1);
        let messages =
            stream::unfold(messages, async |mut messages| Some((messages.recv().await?, messages)));
        let mut echoed = client.both(messages.boxed()).await.unwrap();
        for number in 0..50 {
            send.send(Said::number(number)).await.unwrap();
            assert_eq!(echoed.message().await.unwrap(), Some(Said::number(number)));
        }
        drop(send);
        assert_eq!(echoed.message().await.unwrap(), None);
        assert!(echoed.trailers().await.unwrap().is_some());
    });
    for (method, count) in [("Once", 1), ("Many", 2), ("Gather", 2), ("Both", 1)] {
        for line in peers.rig.lines(&format!("/{ECHO}/{method}"), count) {
            assert!(line.contains(" 200 - via_upstream ") && line.ends_with(" demo.grpc.0"), "{line}");
        }
    }
}

#[test]
fn large_messages_and_many_calls_pass() {
    let peers = Peers::new(51);
    peers.run(async |mut client| {
        let octets = Bytes::from(octets(3 << 20));
        let said = Said { octets: octets.clone(), ..Said::default() };
        assert!(client.once(Request::new(said.clone())).await.unwrap().into_inner() == said);

        let part = octets.slice(..64 << 10);
        let large = move |number| Said { number, octets: part.clone(), ..Said::default() };
        let mut echoed = client.both(stream::iter(0..200).map(large.clone()).boxed()).await.unwrap();
        for number in 0..200 {
            assert!(echoed.message().await.unwrap() == Some(large(number)), "message {number}");
        }
        let gathered = client.gather(stream::iter(0..200).map(large).boxed()).await.unwrap();
        assert_eq!(gathered.text, (200 * (64 << 10)).to_string());

        let calls = (0..200).map(|number| {
            let mut client = client.clone();
            async move {
                let answer = client.once(Request::new(Said::number(number))).await.unwrap();
                assert_eq!(answer.into_inner().number, number);
            }
        });
        futures_util::future::join_all(calls).await;
    });
}

#[test]
fn metadata_goes_both_ways() {
    let peers = Peers::new(52);
    peers.run(async |mut client| {
        let mut request = Request::new(Said::default());
        request.metadata_mut().insert("x-said", "something".parse().unwrap());
        request.metadata_mut().insert_bin("x-said-bin", MetadataValue::from_bytes(&[0, 1, 254, 255]));
        // What the client wants to wait is the server's business as well.
        request.set_timeout(Duration::from_secs(3600));
        let answer = client.once(request).await.unwrap();
        let told = answer.metadata();
        for (name, value) in [
            ("saw-x-said", "something"),
            ("saw-x-routed", "by-service"),
            ("saw-te", "trailers"),
            ("saw-grpc-timeout", "3600000m"),
            ("x-answered", "by-route"),
        ] {
            assert_eq!(told.get(name).map(|value| value.to_str().unwrap()), Some(value), "{name}: {told:?}");
        }
        assert_eq!(told.get_bin("saw-x-said-bin").unwrap().to_bytes().unwrap().as_ref(), [0, 1, 254, 255]);
    });
}

#[test]
fn errors_arrive_with_all_that_they_say() {
    let peers = Peers::new(53);
    peers.run(async |mut client| {
        // Without any message: headers are trailers.
        let status = client.once(Request::new(Said::text("fail"))).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "not like this: ünï %"));
        assert_eq!(status.details(), [8, 9, 0, 255]);
        assert_eq!(status.metadata().get("x-reason").unwrap(), "because");
        assert_eq!(
            status.metadata().get_bin("x-reason-bin").unwrap().to_bytes().unwrap().as_ref(),
            [0, 255, 10]
        );
        // Behind messages.
        let mut broken =
            client.many(Said { text: "break".to_owned(), number: 3, ..Said::default() }).await.unwrap();
        for number in 0..3 {
            assert_eq!(broken.message().await.unwrap(), Some(Said::number(number)));
        }
        let status = broken.message().await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::DataLoss, "there is no more"));
        let status = client.named("None", Request::new(Said::default())).await.unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (Code::Unimplemented, "tonic's server has no such method")
        );
        // What says that it is not there now is asked once more, if nothing has come of it yet.
        let answer = client.once(Request::new(Said::text("fail at first"))).await.unwrap();
        assert_eq!(answer.metadata().get("saw-x-envoy-attempt-count").unwrap(), "2");
    });
}

/// Answers of the waypoint's own are of gRPC as well, so that clients read them as what they are.
#[test]
fn the_waypoints_own_answers_are_calls_statuses() {
    let peers = Peers::new(54);
    peers.run(async |mut client| {
        let denied = client.named("Denied", Request::new(Said::default())).await.unwrap_err();
        assert_eq!((denied.code(), denied.message()), (Code::PermissionDenied, "RBAC: access denied"));
        for (service, code) in [
            ("adit.test.Unknown", Code::Unimplemented),
            ("adit.test.Empty", Code::Unavailable),
            ("adit.test.Gone", Code::Unknown),
        ] {
            let status = client.of(service).once(Request::new(Said::default())).await.unwrap_err();
            assert_eq!(status.code(), code, "{service}: {status:?}");
        }
        // The connection has taken no harm.
        assert_eq!(client.once(Request::new(Said::number(1))).await.unwrap().into_inner().number, 1);
    });
}

#[test]
fn who_gives_up_is_not_worked_for() {
    let (peers, mut given_up) = Peers::and_given_up(55);
    peers.run(async |mut client| {
        // With the way there known, the server gets to see what follows before its time is over.
        client.once(Request::new(Said::default())).await.unwrap();
        let mut request = Request::new(Said::text("wait"));
        request.set_timeout(Duration::from_secs(2));
        let late = client.once(request).await.unwrap_err();
        assert!(matches!(late.code(), Code::Cancelled | Code::DeadlineExceeded), "{late:?}");
        assert_eq!(given_up.recv().await, Some(GivenUp));
        // A stream that is dropped amid its messages is reset all the way.
        let endless = Said { text: "endless".to_owned(), number: 2, ..Said::default() };
        let mut messages = client.many(endless).await.unwrap();
        assert_eq!(messages.message().await.unwrap(), Some(Said::number(0)));
        assert_eq!(messages.message().await.unwrap(), Some(Said::number(1)));
        assert!(given_up.try_recv().is_err());
        drop(messages);
        assert_eq!(given_up.recv().await, Some(GivenUp));
    });
}
