//! Fuzz target: a `config_dump` read back.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_testkit::fuzz::undump::body(data));
