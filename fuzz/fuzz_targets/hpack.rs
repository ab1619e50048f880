//! Fuzz target: the HPACK decoder.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_testkit::fuzz::hpack::body(data));
