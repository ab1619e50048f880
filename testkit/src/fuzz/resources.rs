//! Any text as manifests: something to decide by, or problems that say where they are; never a panic, and never a decision that
//! changes with the order of objects.
use std::sync::Arc;

use adit_control::resources::{Object, Objects, World, compile, documents};
use adit_core::l7::{Action, Request, Rules, Scheme};
use adit_core::rng::Rng;

/// A request that many routes are for.
struct Asked;

impl Request for Asked {
    fn method(&self) -> &str {
        "GET"
    }

    fn scheme(&self) -> Scheme {
        Scheme::Http
    }

    fn authority(&self) -> &str {
        "echo:8080"
    }

    fn path(&self) -> &str {
        "/a/b"
    }

    fn query(&self) -> Option<&str> {
        Some("q=1")
    }

    fn header<'a>(&'a self, _name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        std::iter::once(&b"1"[..])
    }
}

/// What service `echo` does with the request on a few ports, as text.
fn decided(objects: &[Arc<Object>]) -> String {
    let world = World::new("default", "waypoint");
    let objects: Objects = objects.iter().cloned().collect();
    let compiled = compile(&objects, &world);
    for problem in &compiled.problems {
        assert!(!problem.field.is_empty() && !problem.text.is_empty(), "{problem:?}");
    }
    let frontends = &compiled.snapshot.frontends;
    let mut decided = format!("{:?}", compiled.problems);
    for port in [80, 8080] {
        match frontends.rules(&world.service("default", "echo"), port, Some("default")) {
            None => {}
            Some(Rules::Connections(table)) => {
                decided.push_str(&format!("{:?}", table.find(Some("a.example.com"))))
            }
            Some(Rules::Requests(table)) => {
                let Some(found) = table.find(&Asked) else { continue };
                decided.push_str(&format!("{found:?}"));
                match &found.rule.action {
                    Action::Forward(forward) => {
                        let drawn = forward.backends.draw(&mut Rng::new(1));
                        decided.push_str(&format!("{drawn:?}"));
                        if let Some(rewrite) = &forward.rewrite.path {
                            assert!(rewrite.apply("/a/b", found.matched.path()).starts_with('/'));
                        }
                    }
                    Action::Redirect(redirect) => {
                        let location = redirect.location(&Asked, port, found.matched.path()).location;
                        assert!(!location.contains(['\r', '\n']), "{location:?}");
                    }
                    Action::Direct(direct) => assert!((100..600).contains(&direct.status)),
                    Action::Invalid(why) => assert!(!why.is_empty()),
                }
            }
        }
    }
    decided
}

/// The file's octets.
pub fn body(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match documents::read(text, false) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(objects) => {
            let mut objects: Vec<_> = objects.into_iter().map(Arc::new).collect();
            let forward = decided(&objects);
            objects.reverse();
            assert_eq!(forward, decided(&objects), "the order of objects means nothing");
        }
    }
}
