//! x
/// x
pub fn check(_input: &[u8]) {}
