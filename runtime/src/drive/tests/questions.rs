//! A shard's questions: on their way to who answers, and back.
use adit_core::dns::{NameError, NameScope};

use super::*;
use crate::answers::{DemandReply, DemandSource, NameReply, NameSource};

/// Answers names that are addresses and keys that are "none", gives up those that are empty, keeps the rest for later.
#[derive(Clone, Default)]
struct Kept(Arc<std::sync::Mutex<(Vec<NameReply>, Vec<DemandReply>)>>);

impl NameSource for Kept {
    fn request(&mut self, _: ProxyId, name: &Arc<str>, _: NameScope, reply: NameReply) {
        match name.parse() {
            Ok(address) => reply.send(Ok(vec![address])),
            Err(_) if name.is_empty() => {}
            Err(_) => self.0.lock().unwrap().0.push(reply),
        }
    }
}

impl DemandSource for Kept {
    fn request(&mut self, key: &Arc<str>, reply: DemandReply) {
        match &**key {
            "none" => reply.send(Ok(())),
            "" => {}
            _ => self.0.lock().unwrap().1.push(reply),
        }
    }
}

#[test]
fn questions_are_always_answered_and_tables_come_first() {
    let (mut drive, _, handle, _far) = driven(0, DriveConfig::default());
    let kept = Kept::default();
    drive.questions = Questions { names: Box::new(kept.clone()), demands: Box::new(kept.clone()) };
    for (index, text) in (0..).zip(["10.0.0.1", "", "later"]) {
        let (ticket, text) = (Ticket { index, generation: 0 }, Arc::from(text));
        drive.engine.actions.push_back(Action::Resolve {
            proxy: ProxyId::OWN,
            ticket,
            name: text,
            scope: NameScope::Outside,
        });
    }
    for (index, text) in (3..).zip(["none", "", "later"]) {
        let (ticket, key) = (Ticket { index, generation: 0 }, Arc::from(text));
        drive.engine.actions.push_back(Action::Demand { ticket, key });
    }
    // One turn for the questions, one for the answers.
    let _ = poll(&mut drive);
    let _ = poll(&mut drive);
    assert_eq!(log(&mut drive), ["3: Ok(())", "4: Err(GivenUp)", "0: Ok([10.0.0.1])", "1: Err(GivenUp)"]);
    let (names, demands) = std::mem::take(&mut *kept.0.lock().unwrap());
    names.into_iter().for_each(|reply| reply.send(Err(NameError::NotFound)));
    demands.into_iter().for_each(|reply| reply.send(Ok(())));
    handle.mesh(Arc::default());
    let _ = poll(&mut drive);
    assert_eq!(log(&mut drive), ["mesh", "5: Ok(())", "2: Err(NotFound)"]);

    drive.questions = Questions::default();
    let ticket = Ticket { index: 0, generation: 0 };
    let name = Action::Resolve { proxy: ProxyId::OWN, ticket, name: "a".into(), scope: NameScope::Workload };
    drive.engine.actions.extend([name, Action::Demand { ticket, key: "a".into() }]);
    let _ = poll(&mut drive);
    let _ = poll(&mut drive);
    assert_eq!(log(&mut drive), ["0: Err(NoSource)", "0: Err(NoResolver)"]);
}
