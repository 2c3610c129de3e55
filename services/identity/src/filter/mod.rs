//! Which objects a list shows, and in which order: the contract's tree, checked, and turned
//! into SQL whose every value is bound.

mod page;
mod query;
mod read;
mod sql;

use chrono::{DateTime, Utc};

use self::{
    page::digest,
    read::{read, read_order},
    sql::{push_condition, push_order, sort_key},
};
pub(crate) use self::{
    page::{Page, PageToken, digest_of},
    query::{Asked, Listed, Query, Rows},
    read::DEPTH_MAX,
};

/// A condition, checked for its size but not yet against the fields that there are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Present(String),
    /// One and the same entry of the list satisfies the condition.
    Entry(String, Box<Condition>),
    Compare(Comparison),
}

impl Condition {
    /// Whether it asks nothing.
    fn is_empty(&self) -> bool {
        matches!(self, Self::All(parts) if parts.is_empty())
    }

    /// Whether it asks one thing at the most. There are some hundred of such shapes, and they are the look-ups of
    /// identity providers; of others there is no end.
    fn is_plain(&self) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => match parts.as_slice() {
                [] => true,
                [part] => part.is_plain(),
                _ => false,
            },
            Self::Entry(_, inner) => inner.is_plain(),
            Self::Present(_) | Self::Compare(_) => true,
            Self::Not(_) => false,
        }
    }
}

/// One field held against one value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Comparison {
    pub(crate) field: String,
    pub(crate) operator: Operator,
    pub(crate) value: Value,
    /// Whether case and compatibility forms count.
    pub(crate) exact: bool,
    /// Stands before the field's value.
    pub(crate) prefix: String,
}

/// How a field compares to a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Contains,
    StartsWith,
    EndsWith,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// A value to compare with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Flag(bool),
    Moment(DateTime<Utc>),
}

/// In which order a list shows what it shows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Order {
    pub(crate) field: String,
    pub(crate) descending: bool,
    pub(crate) exact: bool,
}

/// What a field is, as SQL expressions over the rows of its list. None of them holds a value of a
/// request.
#[derive(Clone, Debug)]
pub(crate) enum Field {
    /// A UUID.
    Id(String),
    /// A text: as it is, and folded as [`crate::names::fold`] folds.
    Text {
        exact: String,
        folded: String,
    },
    /// A text that compares by its key ([`crate::names::key`]), which has an index.
    Key {
        exact: String,
        key: String,
    },
    /// A flag; NULL is no value.
    Flag(String),
    /// A moment.
    Moment(String),
    /// Something with parts, which is there or not: an expression that is NULL where it is not.
    Whole(String),
    List(List),
}

/// A field with several entries.
#[derive(Clone, Debug)]
pub(crate) struct List {
    /// `FROM .. WHERE ..`: a row an entry.
    pub(crate) rows: String,
    /// The parts of an entry, over those rows.
    pub(crate) parts: Vec<(&'static str, Field)>,
    /// Which entry comes first, where one is to speak for the list.
    pub(crate) first: &'static str,
    /// A part that an array column has the keys of: the part and the column.
    pub(crate) indexed: Option<(&'static str, &'static str)>,
}

/// The fields of what a list shows.
pub(crate) trait Fields {
    /// The column of the id, which breaks ties.
    const ID: &'static str;

    /// The field of that name.
    fn field(&self, name: &str) -> Option<Field>;
}
