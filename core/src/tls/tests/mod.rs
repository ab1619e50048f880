//! Tests of whole sessions; the support code makes certificates, ports and stock peers.
mod pair;
mod support;
