//! That the administrator's guide quotes what is really sent.

use std::collections::HashMap;

use scim_protocol::{group::GROUP, resource, user::USER};
use serde_json::Map;

use super::*;
use crate::{admission, entitlements};

const GUIDE: &str = include_str!("../../../../docs/okta.md");

/// What identity says of user names, which it alone checks.
const USER_NAMES: &str = include_str!("../../../../services/identity/src/names.rs");

/// An error as identity sends it; `facts` are its metadata.
fn of(reason: ErrorReason, facts: &[(&str, &str)], naming: Option<&str>) -> ScimError {
    let facts: HashMap<String, String> = facts
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut details = ErrorDetails::new();
    details.set_error_info(reason_word(reason), ERROR_DOMAIN, facts);
    let status = Status::with_error_details(Code::Unknown, "", details);
    let naming = naming.map(|display_name| Naming {
        prefix: "CB",
        display_name,
    });
    translate(&status, naming.as_ref()).error
}

fn of_user_names() -> Vec<ScimError> {
    USER_NAMES
        .split('"')
        .filter(|text| text.starts_with("must be an e-mail address"))
        .map(|description| {
            let mut details = ErrorDetails::new();
            details.set_error_info("FIELD_INVALID", ERROR_DOMAIN, HashMap::new());
            details.add_bad_request_violation("user_name", description);
            let status = Status::with_error_details(Code::InvalidArgument, "", details);
            Refusal::from(status).error
        })
        .collect()
}

/// Everything that an Okta administrator may read.
fn messages() -> Vec<ScimError> {
    use ErrorReason as R;
    let here = ("site_domain", "acme");
    let group = [("display_name", "CB/acme/ROLE/Admin"), ("id", "g-1")];
    let unknown = |kind| [here, ("kind", kind), ("closest", "Analyst")];
    let mut all = vec![
        Refusal::unauthenticated().error,
        Refusal::contended().error,
        Refusal::busy().error,
        Refusal::fault().error,
        of(
            R::TargetUnknown,
            &unknown("ROLE"),
            Some("CB/acme/ROLE/Analist"),
        ),
        of(
            R::TargetUnknown,
            &unknown("BUSINESS_ENTITY"),
            Some("CB/acme/BE/EU"),
        ),
        of(R::TargetOfAnotherSite, &[here], Some("CB/other/ROLE/Admin")),
        of(R::OwnerNotGrantable, &[here], Some("CB/acme/ROLE/Owner")),
        of(R::TargetMissing, &[here], Some("cb/acme/ROLE/Admin")),
        of(R::TargetMissing, &[here], Some("CB/acme/role/Admin")),
        of(R::TargetMissing, &[here], Some("CB/acme/ROLE")),
        of(R::TargetMissing, &[here], Some("Everyone")),
        of(R::MemberIsGroup, &[("group_id", "g-1")], None),
        of(R::UserNameTaken, &[("id", "m-1")], None),
        of(R::GroupTargetTaken, &group, None),
        of(R::GroupNameTaken, &group, None),
        of(R::ScopeMissing, &[("scope", "provision")], None),
        of(R::LastOwner, &[here], None),
        of(R::OwnerUserName, &[], None),
        of(R::MemberNotFound, &[], None),
        of(R::GroupNotFound, &[], None),
        of(
            R::LimitExceeded,
            &[("limit", "member_ids"), ("maximum", "9")],
            None,
        ),
        of(R::RateLimited, &[], None),
        of(R::Unavailable, &[], None),
        resource::require(&USER, &Map::new()).unwrap_err(),
        resource::require(&GROUP, &Map::new()).unwrap_err(),
        admission::too_large(admission::BodySize::Ordinary, 1).error,
        admission::too_large(admission::BodySize::Group, 1).error,
    ];
    all.extend(of_user_names());
    all.extend(
        ["Analyst", "x", "Owner"]
            .map(|value| ScimError::invalid_value(entitlements::tests::explain(&[value]))),
    );
    all
}

/// The quoted pieces of the guide's table, each with the status before it.
fn quotes() -> Vec<(u16, &'static str)> {
    let (_, section) = GUIDE.split_once("\n## 8. ").unwrap();
    let mut quotes = Vec::new();
    for row in section.lines() {
        let cell = row.split('|').nth(1).unwrap_or_default().trim();
        let Ok(status) = cell.split(' ').next().unwrap_or_default().parse() else {
            continue;
        };
        let pieces = cell.split('*').skip(1).step_by(2);
        quotes.extend(pieces.map(|piece| (status, piece)));
    }
    quotes
}

/// Whether the message has the parts of the quote, between its ellipses, in their order.
fn says(message: &str, quote: &str) -> bool {
    let mut rest = message;
    quote.split('…').map(str::trim).all(|part| {
        let found = rest.split_once(part).map(|(_, after)| after);
        rest = found.unwrap_or(rest);
        found.is_some()
    })
}

#[test]
fn every_message_in_the_guide_is_one_that_is_sent() {
    let (messages, quotes) = (messages(), quotes());
    assert!(quotes.len() > 25, "{quotes:?}");
    for (status, quote) in quotes {
        assert!(quote.chars().any(char::is_alphabetic), "{status} {quote:?}");
        let mut same = messages.iter().filter(|message| message.status == status);
        assert!(
            same.any(|message| says(&message.detail, quote)),
            "nothing says {status} {quote:?}"
        );
    }
}

#[test]
fn every_message_of_the_list_is_in_the_guide() {
    let quotes = quotes();
    for message in messages() {
        let mut same = quotes
            .iter()
            .filter(|(status, _)| *status == message.status);
        assert!(
            same.any(|(_, quote)| says(&message.detail, quote)),
            "the guide does not explain {message}"
        );
    }
}
