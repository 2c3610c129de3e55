#![doc = include_str!("../README.md")]

pub mod attributes;
pub mod bulk;
pub mod discovery;
pub mod entitlement;
pub mod error;
pub mod filter;
pub mod group;
pub mod json;
pub mod list;
pub mod moment;
pub mod patch;
pub mod path;
pub mod query;
pub mod resource;
pub mod schema;
pub mod user;

pub use error::{ScimError, ScimType};

/// The media type of SCIM messages (RFC 7644 section 8.1).
pub const MEDIA_TYPE: &str = "application/scim+json";
