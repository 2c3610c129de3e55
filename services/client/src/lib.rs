#![doc = include_str!("../README.md")]

mod error;
mod names;
mod outgoing;
mod roster;
mod watch;
mod wire;

pub use identity_proto::v1 as proto;

pub use self::{
    error::{Error, Reason},
    names::{by_id, by_user_name, entity, named, permission, role, site},
    outgoing::{carry_trace, is_unreachable, is_unsent},
    roster::{Builder, Roster},
    watch::{From, Watch},
    wire::Wire,
};
