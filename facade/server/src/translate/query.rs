//! What a client asks of a list, in the contract's words: its filter ([`filter`]) and its order ([`order`]).

mod fields;
mod filter;
mod moment;
mod order;
mod tree;

use identity_proto::v1 as pb;
use scim_protocol::{
    ScimError,
    path::AttrPath,
    query::Query,
    schema::{Attribute, ResourceType, Target, Type},
};

pub(crate) use self::tree::MAX_NODES;
use self::{
    fields::Source,
    tree::{always, never, present},
};
use super::Site;

/// What a query is read for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading<'a> {
    /// Whose list it is.
    pub(crate) resource_type: &'static ResourceType,
    /// The other types that the same query is for: what only those have, this one has no value of
    /// (RFC 7644 section 3.4.2.1).
    pub(crate) beside: &'a [&'static ResourceType],
    /// Where the resources are.
    pub(crate) site: &'a Site,
}

/// Where names are looked up.
#[derive(Clone, Copy)]
enum Scope<'a> {
    /// In the resource.
    Resource,
    /// In one entry of this list, which is that field.
    Entry(&'static Attribute, &'a str),
    /// In a single attribute with parts, named as it was.
    Parts(&'a AttrPath),
}

/// A simple value.
struct Leaf {
    attribute: &'static Attribute,
    source: Source,
    /// The list that it is a part of, where any entry will do.
    list: Option<String>,
}

/// What a name leads to.
enum Found {
    /// A simple value.
    Leaf(Leaf),
    /// Something with parts: the condition that it is there, and the part that speaks for it.
    Whole(pb::Filter, Option<Leaf>),
    /// An attribute of another resource type.
    Elsewhere,
}

impl Reading<'_> {
    /// The filter and the order of a query.
    pub(crate) fn both(
        &self,
        query: &Query,
    ) -> Result<(Option<pb::Filter>, Option<pb::Order>), ScimError> {
        let filter = query.filter.as_ref().map(|filter| self.filter(filter));
        let order = query.sort.as_ref().map(|sort| self.order(sort));
        Ok((filter.transpose()?, order.transpose()?.flatten()))
    }

    fn resolve(&self, path: &AttrPath) -> Result<Option<Target>, ScimError> {
        if let Some(target) = self.resource_type.resolve(path) {
            return Ok(Some(target));
        }
        if self
            .beside
            .iter()
            .any(|other| other.resolve(path).is_some())
        {
            return Ok(None);
        }
        Err(unknown(self.resource_type.name, path))
    }

    fn find(&self, path: &AttrPath, scope: Scope<'_>) -> Result<Found, ScimError> {
        let joined;
        let path = match scope {
            Scope::Resource => path,
            Scope::Entry(attribute, list) => return self.find_part(path, attribute, list),
            Scope::Parts(of) => {
                if path.schema.is_some() || path.sub.is_some() {
                    return Err(unknown(&of.name, path));
                }
                joined = AttrPath {
                    sub: Some(path.name.clone()),
                    ..of.clone()
                };
                &joined
            }
        };
        let (extension, attribute, sub) = match self.resolve(path)? {
            None => return Ok(Found::Elsewhere),
            Some(Target::Extension(schema)) => {
                let is_there = fields::extension(schema).map_or_else(always, present);
                return Ok(Found::Whole(is_there, None));
            }
            Some(Target::Attribute {
                extension,
                attribute,
                sub,
            }) => (extension, attribute, sub),
        };
        let source = |sub| fields::source(self.resource_type, extension, attribute, sub, self.site);
        let leaf = |sub: &'static Attribute| Leaf {
            attribute: sub,
            source: source(Some(sub)),
            list: match source(None) {
                Source::Field(list) if attribute.multi_valued => Some(list),
                _ => None,
            },
        };
        Ok(match sub {
            Some(sub) => Found::Leaf(leaf(sub)),
            None if attribute.kind == Type::Complex => {
                let is_there = match source(None) {
                    _ if attribute.name == "meta" => always(),
                    Source::Field(field) => present(&field),
                    _ => never(),
                };
                Found::Whole(is_there, fields::default_part(attribute).map(leaf))
            }
            None => Found::Leaf(Leaf {
                attribute,
                source: source(None),
                list: None,
            }),
        })
    }

    /// A part of the entry that brackets speak of.
    fn find_part(
        &self,
        path: &AttrPath,
        attribute: &'static Attribute,
        list: &str,
    ) -> Result<Found, ScimError> {
        let sub = match (&path.schema, &path.sub) {
            (None, None) => attribute.sub_attribute(&path.name),
            _ => None,
        };
        let sub = sub.ok_or_else(|| unknown(attribute.name, path))?;
        Ok(Found::Leaf(Leaf {
            attribute: sub,
            source: fields::part(list, sub, self.site),
            list: None,
        }))
    }
}

fn unknown(of: &str, path: &AttrPath) -> ScimError {
    ScimError::invalid_filter(format!("{of} has no attribute {path}."))
}

#[cfg(test)]
mod tests;
