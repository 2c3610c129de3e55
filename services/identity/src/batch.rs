//! Batches: many objects read at once, answered in the order in which they were named.

use std::{collections::HashMap, hash::Hash};

use crate::error::Error;

/// The most objects that one request may name.
pub(crate) const BATCH_MAX: usize = 500;

/// What a request named, `Q` each, and by which key it is known; none where it can be nobody's.
#[derive(Clone, Debug)]
pub(crate) struct Batch<Q, K>(Vec<(Q, Option<K>)>);

impl<Q: Clone, K: Clone + Eq + Hash> Batch<Q, K> {
    /// Reads what `field` names.
    pub(crate) fn read(
        field: &'static str,
        named: Vec<Q>,
        key: impl Fn(&Q) -> Result<Option<K>, Error>,
    ) -> Result<Self, Error> {
        if named.len() > BATCH_MAX {
            return Err(Error::invalid(
                field,
                format!("names {}; it may name {BATCH_MAX} at once", named.len()),
            ));
        }
        named
            .into_iter()
            .map(|named| Ok((key(&named)?, named)))
            .map(|pair| pair.map(|(key, named)| (named, key)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The keys to look for.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().filter_map(|(_, key)| key.as_ref())
    }

    /// Puts what was found into the order in which it was named, once each time; and what was not found.
    /// `keys` are all by which an object may have been named.
    pub(crate) fn arrange<R: Clone, I: IntoIterator<Item = K>>(
        &self,
        found: Vec<R>,
        keys: impl Fn(&R) -> I,
    ) -> (Vec<R>, Vec<Q>) {
        let mut by_key = HashMap::new();
        for (at, object) in found.iter().enumerate() {
            for key in keys(object) {
                by_key.insert(key, at);
            }
        }
        let (mut known, mut unknown) = (Vec::with_capacity(self.0.len()), Vec::new());
        for (named, key) in &self.0 {
            match key.as_ref().and_then(|key| by_key.get(key)) {
                Some(at) => known.push(found[*at].clone()),
                None => unknown.push(named.clone()),
            }
        }
        (known, unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(named: &[&'static str]) -> Result<Batch<&'static str, u32>, Error> {
        Batch::read("ids", named.to_vec(), |text| Ok(text.parse().ok()))
    }

    #[test]
    fn what_is_found_comes_in_the_order_in_which_it_was_named() {
        let batch = read(&["3", "x", "1", "3", "2"]).unwrap();
        let (known, unknown) = batch.arrange(vec![(1, "one"), (3, "three")], |(id, _)| [*id]);
        assert_eq!(known, [(3, "three"), (1, "one"), (3, "three")]);
        assert_eq!(unknown, ["x", "2"]);
    }

    #[test]
    fn a_batch_is_bounded_and_says_so() {
        assert!(read(&["1"; BATCH_MAX]).is_ok());
        let error = read(&["1"; BATCH_MAX + 1]).unwrap_err().to_string();
        assert!(error.contains("501") && error.contains("500"), "{error}");
    }
}
