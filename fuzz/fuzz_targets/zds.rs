//! Fuzz target: packets of a CNI agent.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_testkit::fuzz::zds::body(data));
