//! Connections that are not HTTP: octets both ways, under the policies of connections.
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use adit_core::l7::authz::{Denial, Subject, Verdict};
use adit_ops::l7::metrics::Reported;
use adit_ops::l7::{
    Details, Downstream, Exchange, Octets, Outlet, Peer, Protocol, ResetReason, ResponseFlags, Upstream,
};
use adit_tokio::Stream;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use crate::conn::Conn;
use crate::http::{ask_about, connection};
use crate::observe::Told;
use crate::prefixed::Prefixed;
use crate::route::{self, Now};
use crate::upstream::{Link, dial};
use crate::worker::Worker;

/// Relays a connection until both sides have ended it. `name` is the server that a TLS client asks for.
pub(crate) async fn serve(
    worker: &Rc<Worker>,
    conn: &Rc<Conn>,
    stream: Prefixed<Stream>,
    name: Option<&str>,
) {
    let opened = open(worker, conn, name).await;
    run(worker, conn, stream, name, opened).await;
}

/// As [`run`], for a server that has spoken first: its `greeting` goes to the client.
pub(crate) async fn run_greeted(
    worker: &Rc<Worker>,
    conn: &Rc<Conn>,
    mut stream: Prefixed<Stream>,
    opened: Opened,
    greeting: Vec<u8>,
) {
    if !greeting.is_empty() && stream.write_all(&greeting).await.is_err() {
        return;
    }
    run(worker, conn, stream, None, opened).await;
}

/// An endpoint's end of a connection, or what is told in its place.
pub(crate) struct Opened {
    pub(crate) upstream: Option<Link>,
    /// How long nothing may come or go.
    pub(crate) idle: Option<Duration>,
    outlet: Arc<Outlet>,
    facts: Facts,
}

/// What is known of the connection's other side.
#[derive(Default)]
struct Facts {
    flags: Option<ResponseFlags>,
    details: Option<Details>,
    destination: Option<Arc<Peer>>,
    host: Option<SocketAddr>,
    cluster: String,
    failure: Arc<str>,
    under_way: Option<crate::shared::UnderWay>,
}

/// Finds an endpoint for a connection and connects to it, if the policies allow it.
pub(crate) async fn open(worker: &Rc<Worker>, conn: &Rc<Conn>, name: Option<&str>) -> Opened {
    let mut facts = Facts::default();
    let now = match Now::of(worker) {
        Ok(now) => now,
        Err(error) => {
            facts.fail(ResponseFlags::NO_HEALTHY_UPSTREAM, Details::NoHealthyUpstream, &error.to_string());
            let outlet = conn.outlet(&worker.shared.in_force.borrow());
            return Opened { upstream: None, idle: None, outlet, facts };
        }
    };
    let outlet = conn.outlet(&now.in_force);
    if let Err((flags, details)) = admitted(worker, &now, conn, name).await {
        tracing::info!(client = %conn.source, to = %conn.local, %details, "a connection is denied");
        facts.fail(flags, details, "");
        return Opened { upstream: None, idle: None, outlet, facts };
    }
    let mut idle = None;
    let upstream = match route::endpoint_of_connection(worker, &now, conn, name) {
        Err(error) => {
            let flags = match error {
                route::Unroutable::NoRoute(_) => ResponseFlags::NO_ROUTE_FOUND,
                route::Unroutable::Service(_) | route::Unroutable::Port(..) => {
                    ResponseFlags::NO_CLUSTER_FOUND
                }
                _ => ResponseFlags::NO_HEALTHY_UPSTREAM,
            };
            facts.fail(flags, Details::NoHealthyUpstream, &error.to_string());
            None
        }
        Ok((pool, endpoint)) => {
            facts.cluster = pool.name(false);
            facts.destination = Some(Arc::new(Peer::of(&endpoint.workload, None)));
            facts.host = endpoint.address();
            facts.under_way = endpoint.under_way;
            let way = pool.way();
            idle = way.connections.tcp_idle;
            match dial(worker, endpoint.towards, &way, "").await {
                Ok(upstream) => Some(upstream),
                Err(error) => {
                    let details =
                        Details::UpstreamResetBefore(ResetReason::ConnectionFailure, Arc::clone(&error.0));
                    facts.fail(ResponseFlags::UPSTREAM_CONNECTION_FAILURE, details, &error.0);
                    None
                }
            }
        }
    };
    Opened { upstream, idle, outlet, facts }
}

/// Lets a connection in, or says why not.
async fn admitted(
    worker: &Worker,
    now: &Now,
    conn: &Conn,
    name: Option<&str>,
) -> Result<(), (ResponseFlags, Details)> {
    let denied = |denial: Denial| (ResponseFlags::NONE, Details::RbacDenied(denial.by().into()));
    let policies = now.snapshot().policies.of(conn.service().map(|service| &**service));
    if policies.is_empty() {
        return Ok(());
    }
    let subject = Subject::tcp(connection(conn, name));
    for asked in policies.custom(&subject).map_err(denied)? {
        let answer = ask_about(worker, now, conn, name, asked.provider).await;
        answer.map_err(|details| (ResponseFlags::UNAUTHORIZED_EXTERNAL_SERVICE, details))?;
    }
    match policies.judge(&subject).verdict {
        Verdict::Allow { .. } => Ok(()),
        Verdict::Deny(denial) => Err(denied(denial)),
    }
}

impl Facts {
    fn fail(&mut self, flags: ResponseFlags, details: Details, failure: &str) {
        (self.flags, self.details, self.failure) = (Some(flags), Some(details), failure.into());
    }
}

/// Relays between a client and what was opened for it, and tells of it.
pub(crate) async fn run(
    worker: &Rc<Worker>,
    conn: &Rc<Conn>,
    stream: Prefixed<Stream>,
    name: Option<&str>,
    opened: Opened,
) {
    let Opened { upstream, idle, outlet, facts } = opened;
    let (started, wall) = (Instant::now(), SystemTime::now());
    let counted = Rc::new(Counted::default());
    let told = |facts: &Facts, tell: &mut dyn FnMut(&Told<'_>)| {
        let known = conn.exchange(wall, Protocol::Tcp);
        let exchange = Exchange {
            duration: started.elapsed(),
            received: Octets { body: counted.read.get(), head: 0 },
            sent: Octets { body: counted.written.get(), head: 0 },
            flags: facts.flags.unwrap_or(ResponseFlags::NONE),
            details: facts.details.as_ref(),
            downstream: Downstream { server_name: name.unwrap_or_default(), ..known.downstream },
            upstream: Upstream {
                host: facts.host,
                cluster: &facts.cluster,
                transport_failure: &facts.failure,
                ..Upstream::default()
            },
            destination: facts.destination.as_ref(),
            ..known
        };
        tell(&Told { exchange: &exchange, outlet: &outlet, traced: None, operation: "" });
    };
    let recorder = &worker.recorder;
    let mut reported = Reported::default();
    told(&facts, &mut |told| recorder.opened(told));
    if let Some(mut upstream) = upstream {
        let mut stream = Counting { inner: stream, counted: Rc::clone(&counted) };
        let broken = {
            let mut relay = std::pin::pin!(tokio::io::copy_bidirectional(&mut stream, &mut upstream));
            let mut ticks = tokio::time::interval(
                outlet.telemetry().metrics.interval.unwrap_or(worker.shared.settings.tcp_interval),
            );
            loop {
                tokio::select! {
                    ended = &mut relay => break ended.err(),
                    _ = ticks.tick() => {
                        told(&facts, &mut |told| recorder.progress(told, &mut reported));
                        if counted.has_rested(idle) {
                            break None;
                        }
                    }
                }
            }
        };
        if let Some(error) = broken {
            tracing::debug!(client = %conn.source, %error, "a connection has broken");
            // Neither side takes what it got for all there is.
            upstream.reset();
            stream.inner.into_inner().reset();
        }
    } else if facts.flags.is_some() {
        stream.into_inner().reset();
    }
    told(&facts, &mut |told| recorder.finished(told, reported));
}

#[derive(Default)]
struct Counted {
    read: Cell<u64>,
    written: Cell<u64>,
    /// What there was when it was last looked, and since when.
    seen: Cell<Option<(u64, Instant)>>,
}

impl Counted {
    /// Whether nothing has come or gone for `idle` (`tcp.idleTimeout`), as far as looks at it tell.
    fn has_rested(&self, idle: Option<Duration>) -> bool {
        let octets = self.read.get().saturating_add(self.written.get());
        match (idle, self.seen.get()) {
            (Some(idle), Some((known, since))) if known == octets => since.elapsed() >= idle,
            _ => {
                self.seen.set(Some((octets, Instant::now())));
                false
            }
        }
    }
}

/// A stream that counts.
struct Counting {
    inner: Prefixed<Stream>,
    counted: Rc<Counted>,
}

fn add(to: &Cell<u64>, n: usize) {
    to.set(to.get().saturating_add(n as u64));
}

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buffer);
        add(&self.counted.read, buffer.filled().len().saturating_sub(before));
        polled
    }
}

impl AsyncWrite for Counting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, octets);
        if let Poll::Ready(Ok(n)) = polled {
            add(&self.counted.written, n);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
