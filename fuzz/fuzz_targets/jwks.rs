//! Fuzz target: sets of keys.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_testkit::fuzz::jwks::body(data));
