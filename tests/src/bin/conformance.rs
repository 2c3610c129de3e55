//! Writes the conformance table from what `cargo test` printed, which comes on the standard input.

use std::io::Read as _;

use identity_tests::conformance::{holders, outcomes, statements, table};

fn main() -> anyhow::Result<()> {
    let mut printed = String::new();
    std::io::stdin().read_to_string(&mut printed)?;
    let outcomes = outcomes(&printed);
    let passed = |holder: &identity_tests::conformance::Holder| {
        let key = (holder.binary.clone(), holder.name.clone());
        outcomes.get(&key).copied().unwrap_or_default()
    };
    print!("{}", table(&statements()?, &holders()?, &passed));
    Ok(())
}
