//! libFuzzer on [`scim_fuzz::bulk::check`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| scim_fuzz::bulk::check(input));
