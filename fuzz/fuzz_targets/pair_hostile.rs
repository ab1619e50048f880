//! Fuzz target: a tunnel beside a hostile peer, by operation sequences.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_testkit::fuzz::pair_hostile::body(data));
