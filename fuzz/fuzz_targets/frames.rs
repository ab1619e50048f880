//! Fuzz target: the HTTP/2 frame parser and connection.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_testkit::fuzz::frames::body(data));
