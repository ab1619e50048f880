//! Fuzz target: where requests of HTTP/1.1 begin and end.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_testkit::fuzz::http1::body(data));
