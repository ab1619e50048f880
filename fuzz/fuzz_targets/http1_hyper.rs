//! Fuzz target: requests of HTTP/1.1, as hyper reads what the scanner lets pass.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_testkit::fuzz::http1::hyper(data));
