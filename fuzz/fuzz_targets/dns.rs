//! Fuzz target: messages from DNS clients and name servers.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_testkit::fuzz::dns::body(data));
