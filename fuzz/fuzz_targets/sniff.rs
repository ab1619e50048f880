//! Fuzz target: what a stream speaks, by its first octets.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_testkit::fuzz::http1::sniffed(data));
