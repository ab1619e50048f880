//! Establishment of a tunnel: certificate, dial, TLS, SETTINGS; one outcome, every phase with a deadline.
use core::time::Duration;

use crate::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EstablishLimits {
    pub certificate: Duration,
    pub dial: Duration,
    /// TLS handshake and SETTINGS together.
    pub handshake: Duration,
}
impl Default for EstablishLimits {
    fn default() -> Self {
        Self {
            certificate: Duration::from_secs(10),
            dial: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
        }
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EstablishEvent {
    NeedCertificate,
    Dial,
    StartTls,
    /// Shareable: the peer's SETTINGS arrived (design D9); streams it allows.
    Ready {
        limit: u32,
    },
    Failed(EstablishError),
}
/// Which phase failed; the cause's own text travels beside it in the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum EstablishError {
    #[error("no certificate")]
    Certificate,
    #[error("certificate wait timed out")]
    CertificateTimeout,
    #[error("connection failed")]
    Dial,
    #[error("connection timed out")]
    DialTimeout,
    #[error("TLS or HTTP/2 handshake failed")]
    Handshake,
    #[error("TLS or HTTP/2 handshake timed out")]
    HandshakeTimeout,
    #[error("cancelled")]
    Cancelled,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Establish {
    _private: (),
}
impl Establish {
    pub fn client(now: Instant, limits: EstablishLimits) -> Self {
        todo!()
    }
    /// A server has its transport already: it needs the certificate, then TLS.
    pub fn server(now: Instant, limits: EstablishLimits) -> Self {
        todo!()
    }
    pub fn handle_certificate(&mut self, now: Instant, available: bool) {
        todo!()
    }
    pub fn handle_dialed(&mut self, now: Instant, connected: bool) {
        todo!()
    }
    /// Our TLS says complete (not yet ready: D9).
    pub fn handle_tls(&mut self, now: Instant) {
        todo!()
    }
    pub fn handle_settings(&mut self, now: Instant, limit: u32) {
        todo!()
    }
    /// Transport closed, TLS or HTTP/2 error, peer's alert.
    pub fn handle_failed(&mut self, now: Instant) {
        todo!()
    }
    pub fn handle_timeout(&mut self, now: Instant) {
        todo!()
    }
    pub fn cancel(&mut self, now: Instant) {
        todo!()
    }
    pub fn poll_event(&mut self) -> Option<EstablishEvent> {
        todo!()
    }
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }
}
