//! Fuzz target: whole TLS servers on arbitrary first flights.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_testkit::fuzz::tls::client_hello(data));
