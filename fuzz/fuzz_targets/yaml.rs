//! Fuzz target: the local configuration.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_testkit::fuzz::yaml::body(data));
