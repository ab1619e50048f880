//! Readiness: what startup still waits for, and the HTTP endpoint that kubelet and people ask.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::http::{Handler, Method, Request, Response};

/// The path that is answered.
pub const PATH: &str = "/healthz/ready";

/// The set of tasks that startup waits for; ready when it is empty. Clones share the set.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    pending: Arc<Mutex<BTreeMap<&'static str, usize>>>,
    remark: Arc<Mutex<Option<String>>>,
    /// The set has become empty.
    emptied: Arc<Notify>,
}

/// Something startup waits for. Dropped without [`Task::done`] it stays pending: what failed is not ready.
#[derive(Debug)]
#[must_use = "the proxy becomes ready only when `done` is called"]
pub struct Task {
    readiness: Readiness,
    name: &'static str,
}

impl Readiness {
    /// A set with nothing pending.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a task. Two of the same name are two tasks, shown as one.
    pub fn wait_for(&self, name: &'static str) -> Task {
        *self.pending.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
        Task { readiness: self.clone(), name }
    }

    /// What is told beside being ready, for people; it changes nothing for kubelet.
    pub fn set_remark(&self, remark: Option<String>) {
        *self.remark.lock().unwrap_or_else(PoisonError::into_inner) = remark;
    }

    fn remark(&self) -> Option<String> {
        self.remark.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The names of what is pending, sorted; empty when ready.
    #[must_use]
    pub fn pending(&self) -> Vec<&'static str> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }
}

impl Readiness {
    /// Waits until nothing is pending.
    pub async fn ready(&self) {
        loop {
            // Before looking, so that what is done in between is not missed.
            let mut emptied = pin!(self.emptied.notified());
            emptied.as_mut().enable();
            if self.pending().is_empty() {
                return;
            }
            emptied.await;
        }
    }
}

impl Handler for Readiness {
    /// 200 when ready, with the remark if there is one; 500 with what is pending otherwise.
    fn answer(&self, request: &Request) -> Response {
        match (request.target.path == PATH, request.method) {
            (false, _) => Response::not_found(),
            (true, Method::Get) => match self.pending().as_slice() {
                [] => match self.remark() {
                    None => Response::text(200, "ready\n"),
                    Some(remark) => Response::text(200, format!("ready, but {remark}\n")),
                },
                pending => Response::text(500, format!("not ready, pending: {}\n", pending.join(", "))),
            },
            (true, _) => Response::not_allowed("GET", ""),
        }
    }
}

impl Task {
    /// Takes the task off the set.
    pub fn done(self) {
        let mut pending = self.readiness.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = pending.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                pending.remove(self.name);
            }
            if pending.is_empty() {
                self.readiness.emptied.notify_waiters();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Waker};

    #[test]
    fn ready_when_every_task_is_done() {
        let readiness = Readiness::new();
        assert!(readiness.pending().is_empty());
        let (proxy, state, again) =
            (readiness.wait_for("proxy"), readiness.wait_for("state manager"), readiness.wait_for("proxy"));
        assert_eq!(readiness.pending(), ["proxy", "state manager"]);
        proxy.done();
        assert_eq!(readiness.pending(), ["proxy", "state manager"], "one proxy of two is still pending");
        again.done();
        assert_eq!(readiness.pending(), ["state manager"]);
        drop(state);
        assert_eq!(readiness.pending(), ["state manager"], "a task that was given up never becomes ready");
    }

    #[test]
    fn whoever_waits_hears_of_the_last_task() {
        let readiness = Readiness::new();
        let (proxy, state) = (readiness.wait_for("proxy"), readiness.wait_for("state manager"));
        let mut cx = Context::from_waker(Waker::noop());
        let mut waits = pin!(readiness.ready());
        assert!(waits.as_mut().poll(&mut cx).is_pending());
        proxy.done();
        assert!(waits.as_mut().poll(&mut cx).is_pending());
        state.done();
        assert!(waits.as_mut().poll(&mut cx).is_ready());
        assert!(pin!(readiness.ready()).poll(&mut cx).is_ready(), "nobody has to have waited");
    }

    #[test]
    fn answers_follow_the_pending_tasks() {
        let readiness = Readiness::new();
        let ask = |method, target| {
            let response = readiness.answer(&Request::new(method, target));
            (response.status, String::from_utf8(response.body.into_bytes()).unwrap())
        };
        let (proxy, state) = (readiness.wait_for("proxy"), readiness.wait_for("state manager"));
        let waiting = (500, "not ready, pending: proxy, state manager\n".to_owned());
        assert_eq!(ask(Method::Get, "/healthz/ready"), waiting);
        proxy.done();
        state.done();
        assert_eq!(ask(Method::Get, "/healthz/ready?x=1"), (200, "ready\n".to_owned()));
        readiness.set_remark(Some("all is not well".to_owned()));
        assert_eq!(ask(Method::Get, "/healthz/ready"), (200, "ready, but all is not well\n".to_owned()));
        readiness.set_remark(None);
        assert_eq!(ask(Method::Get, "/healthz/ready"), (200, "ready\n".to_owned()));
        assert_eq!(ask(Method::Post, "/healthz/ready"), (405, String::new()));
        assert_eq!(ask(Method::Other, "/healthz/ready"), (405, String::new()));
        assert_eq!(ask(Method::Get, "/"), (404, String::new()));
    }
}
