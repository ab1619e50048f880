//! Connections that have become something else (WebSockets): octets both ways until both sides have ended.
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::watch::Report;
use crate::shared::UnderWay;

/// Relays between a client and an endpoint that have agreed to. The request is over when that is.
pub(crate) fn relay(
    downstream: OnUpgrade,
    upstream: OnUpgrade,
    mut report: Report,
    under_way: Option<UnderWay>,
) {
    tokio::task::spawn_local(async move {
        // It is told of when this is over.
        let report = &mut report;
        let both = tokio::try_join!(downstream, upstream);
        match both {
            Ok((downstream, upstream)) => {
                let (mut downstream, mut upstream) = (TokioIo::new(downstream), TokioIo::new(upstream));
                match tokio::io::copy_bidirectional(&mut downstream, &mut upstream).await {
                    Ok((_, sent)) => report.sent = sent,
                    Err(error) => tracing::debug!(%error, "an upgraded connection has broken"),
                }
            }
            Err(error) => tracing::debug!(%error, "a connection was not upgraded"),
        }
        drop(under_way);
    });
}
