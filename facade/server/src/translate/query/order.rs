//! `sortBy` as an order of the contract (RFC 7644 section 3.4.2.3).

use identity_proto::v1::Order;
use scim_protocol::{ScimError, query::Sort};

use super::{Found, Leaf, Reading, Scope, fields::Source};

impl Reading<'_> {
    /// The order; none where every resource of the type is alike in that attribute.
    pub(crate) fn order(&self, sort: &Sort) -> Result<Option<Order>, ScimError> {
        let refused = |what: &str| ScimError::invalid_value(format!("sortBy: {} {what}.", sort.by));
        let found = self
            .find(&sort.by, Scope::Resource)
            .map_err(|error| ScimError::invalid_value(format!("sortBy: {}", error.detail)))?;
        let leaf = match found {
            Found::Leaf(leaf) | Found::Whole(_, Some(leaf)) => leaf,
            Found::Whole(_, None) => return Err(refused("has parts: name one of them")),
            Found::Elsewhere => return Ok(None),
        };
        let Leaf {
            attribute, source, ..
        } = leaf;
        match source {
            Source::Field(field) | Source::Url { field, .. } => Ok(Some(Order {
                field,
                descending: sort.descending,
                exact: attribute.case_exact,
            })),
            Source::Constant(_) | Source::Schemas => Ok(None),
            Source::Withheld(_) | Source::Uncompared(_) | Source::Nothing => {
                Err(refused("is nothing to sort by"))
            }
        }
    }
}
