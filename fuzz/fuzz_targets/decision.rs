//! Fuzz target: the rule that is found for a request among routes.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_testkit::fuzz::decision::body(data));
