//! When tables are published, by the messages that come.
use std::cell::RefCell;
use std::rc::Rc;

use prost_types::Any;

use super::*;
use crate::proto::istio::security as sec;
use crate::proto::istio::workload as wire;

const UID: &str = "k//Pod/ns/web";
const POLICY: &str = "ns/closed";

/// A writer, and the tables that it has published, newest last.
fn writer() -> (Writer<impl MeshSink>, Rc<RefCell<Vec<Arc<Mesh>>>>) {
    let published = Rc::<RefCell<Vec<_>>>::default();
    let sink = Rc::clone(&published);
    (Writer::new(Mesh::empty("".into()), move |mesh| sink.borrow_mut().push(mesh)), published)
}

fn resource(kind: ResourceType, name: &str, message: &impl prost::Message) -> Resource {
    let payload = Any { type_url: kind.url().into(), value: message.encode_to_vec() };
    Resource { name: name.into(), resource: Some(payload), ..Default::default() }
}

fn listing(policies: &[&str]) -> Resource {
    let workload = wire::Workload {
        uid: UID.into(),
        name: "web".into(),
        namespace: "ns".into(),
        addresses: vec![vec![10, 0, 0, 1]],
        authorization_policies: policies.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    let kind = wire::address::Type::Workload(workload);
    resource(ResourceType::Address, UID, &wire::Address { r#type: Some(kind) })
}

fn policy() -> Resource {
    let policy = sec::Authorization { name: "closed".into(), namespace: "ns".into(), ..Default::default() };
    resource(
        ResourceType::Authorization,
        POLICY,
        &sec::Authorization { scope: sec::Scope::WorkloadSelector.into(), ..policy },
    )
}

impl<S: MeshSink> Writer<S> {
    /// A whole message.
    fn take(&mut self, kind: ResourceType, resources: Vec<Resource>, removed: &[&str]) {
        for resource in resources {
            let (_, received) = self.put(resource).expect("a type that is asked for");
            received.outcome.expect("a good resource");
        }
        let removed = removed.iter().map(ToString::to_string).collect();
        self.end(Tail { type_url: kind.url().into(), removed, ..Tail::default() }, true);
    }
}

#[test]
fn a_workload_waits_for_the_policy_that_it_lists() {
    let (mut writer, published) = writer();
    writer.take(ResourceType::Address, vec![listing(&[])], &[]);
    assert_eq!(published.borrow().len(), 1);
    writer.take(ResourceType::Address, vec![listing(&[POLICY])], &[]);
    assert!(writer.is_holding());
    assert!(published.borrow().last().unwrap().workload(UID).unwrap().authorization_policies.is_empty());
    writer.take(ResourceType::Authorization, vec![policy()], &[]);
    assert!(!writer.is_holding());
    assert_eq!(published.borrow().len(), 2);
    let mesh = Arc::clone(published.borrow().last().unwrap());
    assert!(mesh.policies_for(mesh.workload(UID).unwrap()).all(|policy| policy.is_ok()));
}

#[test]
fn a_policy_that_goes_waits_for_those_who_list_it() {
    let (mut writer, published) = writer();
    writer.take(ResourceType::Authorization, vec![policy()], &[]);
    writer.take(ResourceType::Address, vec![listing(&[POLICY])], &[]);
    assert_eq!(published.borrow().len(), 2);
    writer.take(ResourceType::Authorization, vec![], &[POLICY]);
    assert!(writer.is_holding());
    assert!(published.borrow().last().unwrap().policy("ns", "closed").is_some());
    writer.take(ResourceType::Address, vec![listing(&[])], &[]);
    assert_eq!(published.borrow().len(), 3);
    // In the other order, and of one that nobody lists, there is nothing to wait for.
    writer.take(ResourceType::Authorization, vec![policy()], &[]);
    writer.take(ResourceType::Authorization, vec![], &[POLICY]);
    assert_eq!(published.borrow().len(), 5);
}

#[test]
fn what_never_comes_is_waited_for_once() {
    let (mut writer, published) = writer();
    writer.take(ResourceType::Address, vec![listing(&[POLICY])], &[]);
    assert_eq!(published.borrow().len(), 0);
    assert_eq!(writer.release(), [Arc::from(POLICY)]);
    assert_eq!(published.borrow().len(), 1);
    writer.take(ResourceType::Address, vec![listing(&[POLICY])], &[]);
    assert_eq!(published.borrow().len(), 2);
    assert!(writer.release().is_empty() && published.borrow().len() == 2);
}

#[test]
fn what_goes_meanwhile_is_waited_for_no_longer() {
    let (mut writer, published) = writer();
    writer.take(ResourceType::Address, vec![listing(&[POLICY])], &[]);
    writer.take(ResourceType::Address, vec![], &[UID]);
    assert_eq!(published.borrow().len(), 1);
    assert!(published.borrow()[0].workload(UID).is_none());
}
