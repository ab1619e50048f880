//! Fuzz target: tokens of requests.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_testkit::fuzz::jwt::body(data));
