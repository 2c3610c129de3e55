//! The identity process.
fn main() {}
