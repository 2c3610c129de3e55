//! libFuzzer on [`scim_fuzz::patch::check`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| scim_fuzz::patch::check(input));
