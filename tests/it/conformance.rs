//! `docs/conformance.md` is what the statements and the tests make of it.

use std::collections::BTreeSet;

use identity_tests::conformance::{holders, root, statements, table};

/// How many statements there are.
const STATEMENTS: u32 = 132;

#[test]
fn every_statement_has_a_test_that_runs() {
    let statements = statements().unwrap();
    let holders = holders().unwrap();
    let numbers: Vec<u32> = statements
        .sections
        .iter()
        .flat_map(|section| &section.statements)
        .map(|statement| statement.number)
        .collect();
    assert_eq!(numbers, (1..=STATEMENTS).collect::<Vec<u32>>());
    let without: Vec<&u32> = numbers
        .iter()
        .filter(|number| !holders.contains_key(number))
        .collect();
    assert!(without.is_empty(), "no test holds {without:?}");
    let known: BTreeSet<&u32> = numbers.iter().collect();
    for (number, tests) in &holders {
        assert!(
            known.contains(number),
            "{number} is no statement: {tests:?}"
        );
        for test in tests {
            assert!(!test.is_ignored, "{} is not run", test.name);
        }
    }
}

/// The tests whose outcome the table tells run beside this one: where one fails, the run does.
#[test]
fn the_table_names_every_statement_and_the_tests_that_hold_it() {
    let written = std::fs::read_to_string(root().join("docs/conformance.md")).unwrap_or_default();
    let expected = table(&statements().unwrap(), &holders().unwrap(), &|_| true);
    for (written, expected) in written.lines().zip(expected.lines()) {
        assert_eq!(
            written, expected,
            "docs/conformance.md is out of date: run `make conformance`"
        );
    }
    assert_eq!(
        written.lines().count(),
        expected.lines().count(),
        "docs/conformance.md is out of date: run `make conformance`"
    );
}
