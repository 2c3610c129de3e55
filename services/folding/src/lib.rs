#![doc = include_str!("../README.md")]

use icu_casemap::CaseMapperBorrowed;
use icu_normalizer::ComposingNormalizerBorrowed;

/// The key by which user names, role names, entity names, group names and domains are compared:
/// trimmed, NFKC, full case folding. Folding can undo normalisation, so that comes once more at the
/// end: the key of a key is itself.
#[must_use]
pub fn key(text: &str) -> String {
    fold(text.trim()).trim().to_owned()
}

/// A text as it compares where case does not matter: NFKC, full case folding. Unlike a [`key`] it keeps
/// the space around it, so that a part of a text folds to a part of the folded text.
#[must_use]
pub fn fold(text: &str) -> String {
    // Most texts; the same as below, and many times faster.
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let nfkc = ComposingNormalizerBorrowed::new_nfkc();
    let folded = CaseMapperBorrowed::new()
        .fold_string(&nfkc.normalize(text))
        .into_owned();
    nfkc.normalize(&folded).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Conformance: 100.
    #[test]
    fn keys_ignore_case_width_composition_and_space_around() {
        assert_eq!(key("  Straße "), key("STRASSE"));
        assert_eq!(key("e\u{301}"), key("É"));
        assert_eq!(key("ＡＣＭＥ"), "acme");
        assert_ne!(key("a b"), key("ab"));
    }

    /// Conformance: 100.
    #[test]
    fn no_language_is_preferred() {
        // Unicode's default folding, not Turkish: a dotless i is a letter of its own.
        assert_eq!(key("I"), "i");
        assert_ne!(key("ı"), key("i"));
        assert_eq!(key("Σ"), key("ς"));
    }

    proptest! {
        #[test]
        fn the_key_of_a_key_is_itself(text in any::<String>()) {
            let once = key(&text);
            prop_assert_eq!(key(&once), once);
        }

        #[test]
        fn case_never_matters(text in "\\PC{0,40}") {
            prop_assert_eq!(key(&text.to_uppercase()), key(&key(&text).to_uppercase()));
        }
    }
}
