//! Random texts: passwords and tokens of the development stack.

use rand::{RngExt, distr::Alphanumeric};

/// A random text of letters and digits.
pub(crate) fn random_text(length: usize) -> String {
    rand::rng()
        .sample_iter(Alphanumeric)
        .take(length)
        .map(char::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_differ_and_are_plain() {
        let text = random_text(43);
        assert_eq!(text.len(), 43);
        assert!(text.chars().all(|c| c.is_ascii_alphanumeric()));
        assert_ne!(text, random_text(43));
    }
}
