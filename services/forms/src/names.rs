//! The names that come closest to one that nothing has.

use roster_folding::key;

/// Up to three of `known` that are closest to `wanted`, the closest first; none that is too far to be
/// meant.
#[must_use]
pub fn closest(wanted: &str, known: &[String]) -> Vec<String> {
    let wanted = key(wanted);
    let mut scored: Vec<(f64, &String)> = known
        .iter()
        .map(|name| {
            let name_key = key(name);
            let edits = strsim::normalized_damerau_levenshtein(&wanted, &name_key);
            let contains =
                wanted.len() > 2 && (name_key.contains(&wanted) || wanted.contains(&name_key));
            (if contains { edits.max(0.7) } else { edits }, name)
        })
        .filter(|(score, _)| *score >= 0.5)
        .collect();
    scored.sort_by(|(a, first), (b, second)| b.total_cmp(a).then_with(|| first.cmp(second)));
    scored
        .into_iter()
        .take(3)
        .map(|(_, name)| name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_names_are_the_ones_meant() {
        let known: Vec<String> = [
            "Admin",
            "Analyst",
            "Sales Agent",
            "Sales Manager",
            "Tech Support",
        ]
        .map(str::to_owned)
        .into();
        assert_eq!(closest("Analist", &known), ["Analyst"]);
        assert_eq!(closest("sales", &known), ["Sales Agent", "Sales Manager"]);
        assert_eq!(closest("Administrator", &known)[0], "Admin");
        assert!(closest("zzzzzz", &known).is_empty());
    }
}
