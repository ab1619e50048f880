//! HTTP from a client's proxy through a waypoint to an endpoint's proxy, over real sockets on loopback.
#[path = "rig/mod.rs"]
mod rig;

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use adit_ops::l7::Grpc;
use adit_ops::l7::metrics::Reported;
use adit_waypoint::demo::world::{Plan, World};
use adit_waypoint::observe::{Recorder, Recorders, Told};
use adit_waypoint::settings::Settings;
use rig::{Client, PATIENCE, Rig, echo};

#[test]
fn a_request_goes_through() {
    let rig = Rig::new(&echo(), "");
    let reply = rig.get("echo-v1", "/a?b", &[("connection", "close")]);
    assert_eq!((reply.status, reply.app().as_str()), (200, "v1"));
    assert!(rig.lines("/a?b", 1)[0].starts_with("GET /a?b 200 - via_upstream "));
}

/// Hears of requests: whether one has ended, and how many messages of gRPC went each way until then.
struct Heard(mpsc::Sender<(bool, Grpc)>);

impl Heard {
    fn hear(&self, ended: bool, told: &Told<'_>) {
        self.0.send((ended, told.exchange.http.grpc.unwrap())).unwrap();
    }
}

impl Recorder for Heard {
    fn progress(&self, told: &Told<'_>, _: &mut Reported) {
        self.hear(false, told);
    }

    fn finished(&self, told: &Told<'_>, _: Reported) {
        self.hear(true, told);
    }
}

#[test]
fn messages_of_grpc_are_counted_while_a_call_goes_on() {
    let plan =
        Plan { clients: vec!["web"], apps: vec![("v1", vec!["echo"])], ports: vec![80], ..Plan::default() };
    let (heard, hear) = mpsc::channel();
    let recorders: Recorders = Arc::new(move || Rc::new(Heard(heard.clone())));
    // Whatever comes is told at once.
    let settings = Settings { tcp_interval: Duration::from_nanos(1), ..Settings::default() };
    let world = World::start(&plan, "", settings, recorders).unwrap();
    let entry = world.entry("web", "echo", 80).unwrap();
    let headers = [("content-type", "application/grpc"), ("connection", "close")];
    let reply = Client::new(entry).ask("POST", "/a.B/C", &headers, b"\0\0\0\0\x01a\0\0\0\0\0");
    assert_eq!(reply.status, 200, "{reply:?}");
    let mut all = Vec::new();
    while all.last().is_none_or(|(ended, _)| !ended) {
        all.push(hear.recv_timeout(PATIENCE).unwrap());
    }
    // What the application answers is text, which begins one message that never ends.
    let counted = |grpc: Grpc| (grpc.request_messages, grpc.response_messages);
    assert_eq!(all.iter().map(|(_, grpc)| counted(*grpc)).collect::<BTreeSet<_>>(), [(2, 1)].into());
    assert!(!all[0].0, "only told at its end");
}
