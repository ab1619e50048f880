//! Fuzz target: the record layers.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_testkit::fuzz::tls::record_opener(data));
