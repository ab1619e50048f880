//! Windows that h2 raises from nothing while streams run, in both roles. It is not asked to lower them: what its application
//! has released below half a window it then never announces, and the stream stalls. Python's h2 does that part.
use std::pin::pin;
use std::task::Poll;

use adit_core::hbone::TunnelConfig;
use adit_core::http2::ErrorCode;
use adit_testkit::wire::Script;

use super::peer::*;

/// What SETTINGS_INITIAL_WINDOW_SIZE becomes, one after the other, each as soon as the one before it is acknowledged. h2
/// ends the connection when a stream gets more than it allows.
const WINDOWS: [u32; 7] = [1, 7, 100, 9_000, 30_000, 65_535, 200_000];

/// How many octets go each way on each of three streams.
const OCTETS: usize = 300_000;

/// The windows that are still to be asked for.
struct Changes(&'static [u32]);

impl Changes {
    /// Asks for the next one by `set`, which fails as long as the last is not acknowledged; true if that worked.
    fn ask(&mut self, set: impl FnOnce(u32) -> Result<(), h2::Error>) -> bool {
        let Some((next, rest)) = self.0.split_first() else { return false };
        let asked = set(*next).is_ok();
        if asked {
            self.0 = rest;
        }
        asked
    }
}

#[test]
fn our_client_keeps_to_windows_that_grow() {
    let mut settings = h2::server::Builder::new();
    settings.initial_window_size(0);
    let (mut wire, peer) = to_h2_server(TunnelConfig::client(), 0, settings, |mut connection| async move {
        let mut changes = Changes(&WINDOWS);
        let mut requests = 0;
        std::future::poll_fn(|cx| {
            loop {
                match connection.poll_accept(cx) {
                    Poll::Ready(Some(asked)) => {
                        let (request, mut respond) = asked.expect("nothing beyond a window");
                        tokio::spawn(echo(request.into_body(), accept(&mut respond)));
                        requests += 1;
                    }
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending if requests < 3 => return Poll::Pending,
                    Poll::Pending if !changes.ask(|window| connection.set_initial_window_size(window)) => {
                        return Poll::Pending;
                    }
                    Poll::Pending => {}
                }
            }
        })
        .await;
        changes.0.len()
    });
    for _ in 0..3 {
        wire.open(&request(), Script::send(pattern(OCTETS))).expect("a stream");
    }
    wire.run_until("every stream", |wire| wire.streams().all(|stream| stream.finished));
    assert!(wire.streams().all(|stream| stream.got == pattern(OCTETS)));
    wire.close(ErrorCode::NO_ERROR);
    wire.run_to_end();
    assert_eq!(peer.join().expect("a content peer"), 0, "every window was asked for");
}

#[test]
fn our_server_keeps_to_windows_that_grow() {
    let mut settings = h2::client::Builder::new();
    settings.initial_window_size(0);
    let answer = Box::new(|_: &_| Ok(Script::echo()));
    let (mut wire, peer) =
        to_our_server(TunnelConfig::server(), 0, settings, answer, |requests, mut connection| async move {
            let exchanges = tokio::spawn(async move {
                let each = (0..3).map(|_| tokio::spawn(exchange(requests.clone(), pattern(OCTETS))));
                let each: Vec<_> = each.collect();
                drop(requests);
                for exchanged in each {
                    assert!(exchanged.await.expect("no panic") == pattern(OCTETS));
                }
            });
            let mut changes = Changes(&WINDOWS);
            std::future::poll_fn(|cx| {
                loop {
                    if let Poll::Ready(end) = pin!(&mut connection).poll(cx) {
                        return Poll::Ready(end);
                    }
                    if !changes.ask(|window| connection.set_initial_window_size(window)) {
                        return Poll::Pending;
                    }
                }
            })
            .await
            .expect("nothing beyond a window");
            exchanges.await.expect("no panic");
            changes.0.len()
        });
    wire.run_to_end();
    assert_eq!(peer.join().expect("a content peer"), 0, "every window was asked for");
}
