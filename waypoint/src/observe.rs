//! What is told of requests and connections, and to whom.
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use adit_core::l7::Snapshot;
use adit_ops::l7::Exchange;
use adit_ops::l7::metrics::Reported;
use adit_ops::l7::otlp::Exporters;
use adit_ops::l7::trace::Traced;
use adit_ops::l7::{Outlet, Outlets, Reporter};

/// What is decided by, and what is told of it.
#[derive(Clone, Debug)]
pub struct InForce {
    /// What is decided by.
    pub snapshot: Arc<Snapshot>,
    /// Where it is told.
    pub outlets: Outlets,
}

impl InForce {
    /// A snapshot whose spans leave through `exporters`.
    #[must_use]
    pub fn new(snapshot: Arc<Snapshot>, exporters: &Exporters) -> Arc<Self> {
        let outlets = Outlets::new(&snapshot.telemetry, exporters, |name| std::env::var(name).ok());
        Arc::new(Self { snapshot, outlets })
    }
}

/// A request or connection, as it is now.
#[derive(Debug)]
pub struct Told<'a> {
    /// What is known of it.
    pub exchange: &'a Exchange<'a>,
    /// Where it is told.
    pub outlet: &'a Arc<Outlet>,
    /// Its trace, if there is one.
    pub traced: Option<&'a Traced>,
    /// What its route calls the operation.
    pub operation: &'a str,
}

/// Hears of requests and connections on the one thread that serves them: it must be quick.
pub trait Recorder {
    /// A connection that is not HTTP has begun.
    fn opened(&self, _told: &Told<'_>) {}
    /// One goes on; `reported` is kept beside it.
    fn progress(&self, _told: &Told<'_>, _reported: &mut Reported) {}
    /// A request or connection has ended.
    fn finished(&self, told: &Told<'_>, reported: Reported);
}

/// Makes a recorder for each thread.
pub type Recorders = Arc<dyn Fn() -> Rc<dyn Recorder> + Send + Sync>;

/// Metrics, log lines and spans.
struct Telling(RefCell<Reporter>);

/// Recorders that make metrics, log lines and spans.
#[must_use]
pub fn telling(reporter: Reporter) -> Recorders {
    Arc::new(move || Rc::new(Telling(RefCell::new(reporter.clone()))))
}

impl Recorder for Telling {
    fn opened(&self, told: &Told<'_>) {
        self.0.borrow().opened(Instant::now(), told.outlet, told.exchange);
    }

    fn progress(&self, told: &Told<'_>, reported: &mut Reported) {
        self.0.borrow().progress(Instant::now(), told.outlet, told.exchange, reported);
    }

    fn finished(&self, told: &Told<'_>, reported: Reported) {
        let Told { exchange, outlet, traced, operation } = told;
        self.0.borrow_mut().finished(Instant::now(), outlet, exchange, reported, *traced, operation);
    }
}
