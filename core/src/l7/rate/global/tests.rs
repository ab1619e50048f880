use alloc::string::String;
use alloc::vec;

use super::super::local::tests::World;
use super::super::{DescriptorRule, Part};
use super::*;
use crate::l7::Target;
use crate::l7::tests::Asked;
use crate::mesh::ServiceName;

fn header(name: &str, optional: bool) -> Part {
    Part::Header { key: name.into(), name: name.into(), optional }
}

fn limit(descriptors: Vec<Vec<Part>>) -> GlobalLimit {
    let rule = |parts| DescriptorRule { parts, limit: None, hits: None };
    GlobalLimit {
        service: Target {
            service: ServiceName { namespace: "shop".into(), hostname: "limits".into() },
            port: 8081,
        },
        domain: "shop".into(),
        descriptors: descriptors.into_iter().map(rule).collect(),
        timeout: Duration::from_millis(20),
        deny_on_failure: false,
    }
}

#[test]
fn a_descriptor_is_whole_or_it_is_not_there() {
    let world = World::new();
    let limit = limit(vec![
        vec![Part::Namespace, header("a", false)],
        vec![header("a", true), header("b", false)],
        vec![header("a", true)],
    ]);
    let asked = |headers: &[&str]| {
        let request = headers.iter().fold(Asked::get("/"), |asked, name| asked.with(name, "1"));
        let question = limit.ask(&world.asking(&request))?;
        assert_eq!(&*question.domain, "shop");
        let entries = |it: &Descriptor| {
            it.entries.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
        };
        Some(question.descriptors.iter().map(entries).collect::<Vec<_>>())
    };
    let texts = |all: &[&[&str]]| -> Vec<Vec<String>> {
        all.iter().map(|one| one.iter().map(ToString::to_string).collect()).collect()
    };
    assert_eq!(
        asked(&["a", "b"]),
        Some(texts(&[&["source_namespace=clients", "a=1"], &["a=1", "b=1"], &["a=1"]]))
    );
    assert_eq!(asked(&["b"]), Some(texts(&[&["b=1"]])));
    assert_eq!(asked(&[]), None);
}

fn status(code: Code, remaining: u32) -> LimitStatus {
    let limit = Some(CurrentLimit { requests: 10, unit: Unit::Minute });
    LimitStatus { code, limit, remaining, reset: Some(Duration::from_secs(7)) }
}

fn answer(code: Code) -> Answer {
    let pair = |name: &str| vec![(name.into(), "1".into())];
    let statuses = vec![status(Code::Ok, 5), status(code, 0)];
    Answer {
        code,
        statuses,
        response: pair("for-client"),
        request: pair("for-backend"),
        body: b"slow down".to_vec().into(),
    }
}

fn text(headers: &[(Box<str>, Box<str>)]) -> Vec<String> {
    headers.iter().map(|(name, value)| format!("{name}: {value}")).collect()
}

#[test]
fn answers_are_honoured_and_told() {
    let limit = limit(vec![]);
    let how = LimitAnswer { quota_headers: true, ..LimitAnswer::default() };
    let GlobalVerdict::Pass { request, response } = limit.settle(Some(answer(Code::Ok)), &how, false) else {
        panic!("it passes")
    };
    assert_eq!(text(&request), ["for-backend: 1"]);
    let quota = [
        "for-client: 1",
        "x-ratelimit-limit: 10, 10;w=60, 10;w=60",
        "x-ratelimit-remaining: 0",
        "x-ratelimit-reset: 7",
    ];
    assert_eq!(text(&response), quota);
    let GlobalVerdict::Limited { status, headers, body } =
        limit.settle(Some(answer(Code::OverLimit)), &how, false)
    else {
        panic!("it is limited")
    };
    assert_eq!((status, &*body), (429, &b"slow down"[..]));
    assert_eq!(text(&headers)[..4], quota);
    assert_eq!(text(&headers)[4..], ["retry-after: 7", "x-envoy-ratelimited: true"]);
    let shadowed = limit.settle(Some(answer(Code::OverLimit)), &how, true);
    assert!(matches!(shadowed, GlobalVerdict::Pass { .. }));
}

#[test]
fn without_an_answer_the_mode_of_failure_decides() {
    let how = LimitAnswer::default();
    let open = limit(vec![]);
    let closed = GlobalLimit { deny_on_failure: true, ..limit(vec![]) };
    for answer in [None, Some(answer(Code::Unknown))] {
        assert!(matches!(open.settle(answer.clone(), &how, false), GlobalVerdict::Pass { .. }));
        assert_eq!(closed.settle(answer.clone(), &how, false), GlobalVerdict::Failed);
        assert!(matches!(closed.settle(answer, &how, true), GlobalVerdict::Pass { .. }));
    }
}

#[test]
fn units_are_those_of_the_protocol() {
    assert_eq!(
        [1, 4, 5, 7].map(Unit::of_number),
        [Unit::Second, Unit::Day, Unit::Month, Unit::Week].map(Some)
    );
    assert_eq!([0, 8].map(Unit::of_number), [None, None]);
}
