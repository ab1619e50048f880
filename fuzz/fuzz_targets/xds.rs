//! Fuzz target: resources of a control plane.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_testkit::fuzz::xds::body(data));
