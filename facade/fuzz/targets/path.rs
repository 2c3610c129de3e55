//! libFuzzer on [`scim_fuzz::path::check`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| scim_fuzz::path::check(input));
