//! Fuzz target: requests to the admin pages.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_testkit::fuzz::admin::body(data));
