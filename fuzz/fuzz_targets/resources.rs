//! Fuzz target: Kubernetes resources.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_testkit::fuzz::resources::body(data));
