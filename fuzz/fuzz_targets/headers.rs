//! Fuzz target: the CONNECT exchange's header parsers.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_testkit::fuzz::headers::body(data));
