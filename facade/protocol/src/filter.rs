//! Filters (RFC 7644 section 3.4.2.2): the tree, its printed form and its parser.
//!
//! `not` binds closer than `and`, `and` closer than `or`. Names and words are case-insensitive, literals
//! are JSON's. Deciding whether a value matches is in [`matching`].

mod matching;
mod parser;

use std::fmt;

use serde_json::{Number, Value};

pub use self::matching::compare;
pub(crate) use self::parser::{parse_in_brackets, text_end};
use crate::{ScimError, path::AttrPath};

/// How long a filter may be, in bytes.
pub const MAX_LENGTH: usize = 32 * 1024;

/// How deep parentheses, brackets and `not` may nest.
pub const MAX_DEPTH: usize = 64;

/// How many bytes make a literal a long one.
pub const LONG: usize = 64;

/// A parsed filter.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// All of these hold; two or more.
    And(Vec<Filter>),
    /// One of these holds; two or more.
    Or(Vec<Filter>),
    /// This does not hold.
    Not(Box<Filter>),
    /// The attribute has a value.
    Present(AttrPath),
    /// The attribute compares like this to the literal.
    Compare(AttrPath, Operator, Literal),
    /// One element of the attribute satisfies the inner filter: `emails[type eq "work"]`.
    Element(AttrPath, Box<Filter>),
}

/// How an attribute is held against a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Contains.
    Co,
    /// Starts with.
    Sw,
    /// Ends with.
    Ew,
    /// Greater than.
    Gt,
    /// Greater or equal.
    Ge,
    /// Less than.
    Lt,
    /// Less or equal.
    Le,
}

impl Operator {
    /// Every operator.
    pub const ALL: [Self; 9] = [
        Self::Eq,
        Self::Ne,
        Self::Co,
        Self::Sw,
        Self::Ew,
        Self::Gt,
        Self::Ge,
        Self::Lt,
        Self::Le,
    ];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Ne => "ne",
            Self::Co => "co",
            Self::Sw => "sw",
            Self::Ew => "ew",
            Self::Gt => "gt",
            Self::Ge => "ge",
            Self::Lt => "lt",
            Self::Le => "le",
        }
    }
}

/// What an attribute is compared to.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// No value.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text.
    Text(String),
}

impl Filter {
    /// Parses a filter, or says where and what was expected (400 `invalidFilter`).
    pub fn parse(text: &str) -> Result<Self, ScimError> {
        parser::parse(text)
    }

    /// How much work it is to hold one value against it: the number of its conditions, in which one with a long
    /// literal counts once more for every [`LONG`] bytes.
    pub fn weight(&self) -> usize {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().map(Self::weight).sum(),
            Self::Not(inner) | Self::Element(_, inner) => inner.weight(),
            Self::Present(_) => 1,
            Self::Compare(_, _, literal) => match literal {
                Literal::Text(text) => 1 + text.len() / LONG,
                Literal::Null | Literal::Bool(_) | Literal::Number(_) => 1,
            },
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join =
            |formatter: &mut fmt::Formatter<'_>, parts: &[Self], word, wraps: fn(&Self) -> bool| {
                for (index, part) in parts.iter().enumerate() {
                    if index > 0 {
                        write!(formatter, " {word} ")?;
                    }
                    if wraps(part) {
                        write!(formatter, "({part})")?;
                    } else {
                        write!(formatter, "{part}")?;
                    }
                }
                Ok(())
            };
        match self {
            Self::And(parts) => join(formatter, parts, "and", |part| {
                matches!(part, Self::And(_) | Self::Or(_))
            }),
            Self::Or(parts) => join(formatter, parts, "or", |part| matches!(part, Self::Or(_))),
            Self::Not(inner) => write!(formatter, "not ({inner})"),
            Self::Present(path) => write!(formatter, "{path} pr"),
            Self::Compare(path, operator, literal) => {
                write!(formatter, "{path} {} {literal}", operator.as_str())
            }
            Self::Element(path, inner) => write!(formatter, "{path}[{inner}]"),
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => formatter.write_str("null"),
            Self::Bool(value) => write!(formatter, "{value}"),
            Self::Number(value) => write!(formatter, "{value}"),
            Self::Text(value) => write!(formatter, "{}", Value::from(value.as_str())),
        }
    }
}
