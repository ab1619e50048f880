//! Spans on their way: a bounded queue per collector, and the task that empties it in batches.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use adit_core::l7::telemetry::Collector;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Receiver};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::link::{Link, Signal};
use super::{ExportFigures, Resource, scope};

/// How spans are gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Spans that wait at most, per collector; more are dropped. A span takes about 4 KiB.
    pub queue: usize,
    /// Spans in one message at most.
    pub batch: usize,
    /// How long a span waits for others.
    pub interval: Duration,
}

impl Default for Limits {
    /// 1024 spans wait, 512 are sent together, after 5 s at the latest (as Envoy's).
    fn default() -> Self {
        Self { queue: 1024, batch: 512, interval: Duration::from_secs(5) }
    }
}

/// Takes spans for one collector. Clones share its queue.
#[derive(Clone, Debug)]
pub struct Spans {
    sender: mpsc::Sender<Span>,
    figures: ExportFigures,
}

impl Spans {
    /// Hands a span over without ever waiting; if there is no room for it, it is dropped and counted.
    pub fn offer(&self, span: Span) {
        if self.sender.try_send(span).is_err() {
            self.figures.dropped();
        }
    }
}

/// A task at work.
#[derive(Debug)]
struct Working {
    spans: Spans,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// The exporters of a process, one per collector, on one runtime.
#[derive(Debug)]
pub struct Exporters {
    handle: Handle,
    resource: Resource,
    limits: Limits,
    figures: ExportFigures,
    working: Mutex<HashMap<Arc<Collector>, Working>>,
}

impl Exporters {
    /// None at work yet; their tasks are to run on the runtime of `handle`.
    #[must_use]
    pub fn new(handle: Handle, resource: Resource, limits: Limits, figures: ExportFigures) -> Self {
        Self { handle, resource, limits, figures, working: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<Collector>, Working>> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to a collector; its task is started if there is none. To be asked once per configuration, not per span.
    pub fn of(&self, collector: &Arc<Collector>) -> Spans {
        let mut working = self.lock();
        if let Some(known) = working.get(collector) {
            return known.spans.clone();
        }
        let (sender, queue) = mpsc::channel(self.limits.queue.max(1));
        let (stop, stopped) = oneshot::channel();
        let spans = Spans { sender, figures: self.figures.clone() };
        let task = Task {
            link: Link::new(Arc::clone(collector), Signal::Traces),
            name: Arc::clone(&collector.name),
            resource: self.resource.clone(),
            limits: self.limits,
            figures: self.figures.clone(),
            failing: false,
        };
        let task = self.handle.spawn(task.run(queue, stopped));
        let started = Working { spans: spans.clone(), stop, task };
        working.insert(Arc::clone(collector), started);
        spans
    }

    /// Only these collectors are used from now on: the tasks of others send what they have and end.
    pub fn keep(&self, used: &[Arc<Collector>]) {
        self.lock().retain(|collector, _| used.contains(collector));
    }

    /// Sends what there is, for `most` at the longest, and ends all tasks.
    pub async fn finish(&self, most: Duration) {
        let all: Vec<Working> = self.lock().drain().map(|(_, working)| working).collect();
        let ends = all.into_iter().map(|working| {
            drop(working.stop);
            working.task
        });
        let ends: Vec<JoinHandle<()>> = ends.collect();
        let aborts: Vec<_> = ends.iter().map(JoinHandle::abort_handle).collect();
        let all = async {
            for end in ends {
                // A task that has panicked has told so itself.
                let _ = end.await;
            }
        };
        if tokio::time::timeout(most, all).await.is_err() {
            aborts.iter().for_each(tokio::task::AbortHandle::abort);
        }
    }
}

struct Task {
    link: Link,
    name: Arc<str>,
    resource: Resource,
    limits: Limits,
    figures: ExportFigures,
    /// The last message was not taken: that is told once.
    failing: bool,
}

impl Task {
    /// Until `stopped` is told, or dropped, or there is nobody left to offer spans; then until the queue is empty.
    async fn run(mut self, mut queue: Receiver<Span>, mut stopped: oneshot::Receiver<()>) {
        let most = self.limits.batch.max(1);
        let mut batch = Vec::new();
        let mut stopping = false;
        loop {
            tokio::select! {
                biased;
                _ = &mut stopped, if !stopping => {
                    queue.close();
                    stopping = true;
                    continue;
                }
                count = queue.recv_many(&mut batch, most) => if count == 0 {
                    return;
                },
            }
            // Others may come; nothing is lost when this is given up.
            let others = async {
                while batch.len() < most {
                    let room = most - batch.len();
                    if queue.recv_many(&mut batch, room).await == 0 {
                        break;
                    }
                }
            };
            let ended = tokio::select! {
                _ = tokio::time::timeout(self.limits.interval, others) => false,
                _ = &mut stopped, if !stopping => true,
            };
            if ended {
                queue.close();
                stopping = true;
            }
            self.send(std::mem::take(&mut batch)).await;
        }
    }

    async fn send(&mut self, spans: Vec<Span>) {
        let count = u64::try_from(spans.len()).unwrap_or(u64::MAX);
        let scoped = ScopeSpans { scope: Some(scope()), spans, ..ScopeSpans::default() };
        let resource = Some(self.resource.encoded());
        let all = ResourceSpans { resource, scope_spans: vec![scoped], ..ResourceSpans::default() };
        let request = ExportTraceServiceRequest { resource_spans: vec![all] };
        match self.link.send(request.encode_to_vec()).await {
            Ok(answer) => {
                self.failing = false;
                let answer = ExportTraceServiceResponse::decode(&*answer).unwrap_or_default();
                let refused = answer.partial_success.unwrap_or_default();
                let rejected = u64::try_from(refused.rejected_spans).unwrap_or_default().min(count);
                self.figures.exported(count - rejected);
                self.figures.failed(rejected);
                if rejected > 0 {
                    let (provider, cause) = (&*self.name, &*refused.error_message);
                    tracing::warn!(provider, rejected, cause, "the collector refuses some spans");
                }
            }
            Err(error) => {
                self.figures.failed(count);
                if !std::mem::replace(&mut self.failing, true) {
                    let provider = &*self.name;
                    tracing::warn!(provider, %error, "spans cannot be sent; told again after it has worked");
                }
            }
        }
    }
}
