//! Fuzz target: policies, indexed and read the slow way.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_testkit::fuzz::policy::body(data));
