use identity_proto::v1::{
    Comparison, Filter as Tree, ListMembersRequest, Operator, comparison::Value, filter::Node,
};
use proptest::prelude::*;
use prost::Message;
use scim_protocol::{
    ScimError, ScimType,
    filter::Filter,
    group::GROUP,
    query::Query,
    schema::ResourceType,
    user::{ACCESS_USER, ENTERPRISE_USER, USER},
};

use super::{Reading, Site};

fn translate(
    resource_type: &'static ResourceType,
    beside: &[&'static ResourceType],
    text: &str,
) -> Result<Tree, ScimError> {
    let site = Site::new("https://x", "acme");
    let reading = Reading {
        resource_type,
        beside,
        site: &site,
    };
    reading.filter(&Filter::parse(text)?)
}

/// A tree in a form that reads well: `!` for exact.
fn print(tree: &Tree) -> String {
    let join = |parts: &[Tree], word: &str| match parts {
        [] => word.to_owned(),
        parts => {
            let parts: Vec<String> = parts.iter().map(print).collect();
            format!("{word}({})", parts.join(", "))
        }
    };
    match tree.node.as_ref().unwrap() {
        Node::All(list) => join(&list.filters, "all"),
        Node::Any(list) => join(&list.filters, "any"),
        Node::Not(inner) => format!("not({})", print(inner)),
        Node::Present(field) => format!("{field}?"),
        Node::Entry(entry) => {
            format!("{}[{}]", entry.list, print(entry.filter.as_ref().unwrap()))
        }
        Node::Comparison(comparison) => print_comparison(comparison),
    }
}

fn print_comparison(comparison: &Comparison) -> String {
    let operator = match comparison.operator() {
        Operator::Equal => "=",
        Operator::NotEqual => "<>",
        Operator::Contains => "*",
        Operator::StartsWith => "^",
        Operator::EndsWith => "$",
        Operator::Greater => ">",
        Operator::GreaterOrEqual => ">=",
        Operator::Less => "<",
        Operator::LessOrEqual => "<=",
        Operator::Unspecified => panic!("{comparison:?}"),
    };
    let value = match comparison.value.as_ref().unwrap() {
        Value::Text(text) => text.clone(),
        Value::Flag(flag) => flag.to_string(),
        Value::Moment(moment) => moment.to_string(),
    };
    let exact = if comparison.exact { "!" } else { "" };
    let prefix = &comparison.prefix;
    format!("{prefix}{}{operator}{exact}{value}", comparison.field)
}

fn user(text: &str) -> String {
    print(&translate(&USER, &[], text).unwrap_or_else(|error| panic!("{text}: {error}")))
}

fn group(text: &str) -> String {
    print(&translate(&GROUP, &[], text).unwrap_or_else(|error| panic!("{text}: {error}")))
}

#[test]
fn every_operator_on_its_field() {
    for (text, tree) in [
        (r#"userName eq "x""#, "user_name=x"),
        (r#"USERNAME Ne "x""#, "user_name<>x"),
        (r#"title co "x""#, "profile.title*x"),
        (r#"title sw "x""#, "profile.title^x"),
        (r#"title ew "x""#, "profile.title$x"),
        (r#"externalId gt "x""#, "external_id>!x"),
        (r#"externalId ge "x""#, "external_id>=!x"),
        (r#"externalId lt "x""#, "external_id<!x"),
        (r#"externalId le "x""#, "external_id<=!x"),
        ("title pr", "profile.title?"),
        ("active eq true", "active=true"),
        (r#"active ne "False""#, "active<>false"),
        (r#"timezone eq "x""#, "profile.time_zone=x"),
        (r#"profileUrl eq "x""#, "profile.profile_url=!x"),
        (r#"name.givenName eq "x""#, "profile.name.given_name=x"),
        (
            r#"meta.created gt "2011-05-13T06:42:34.5+02:00""#,
            "create_time>2011-05-13T04:42:34.500Z",
        ),
        (
            r#"meta.lastModified le "2011-05-13T04:42:34Z""#,
            "update_time<=2011-05-13T04:42:34Z",
        ),
        (r#"id eq "x""#, "id=!x"),
        (
            r#"meta.location eq "https://x/acme/scim/v2/Users/1""#,
            "https://x/acme/scim/v2/Users/id=!https://x/acme/scim/v2/Users/1",
        ),
        (r#"groups.value eq "x""#, "groups.id=!x"),
        (r#"groups eq "x""#, "groups.id=!x"),
        (r#"groups.display co "x""#, "groups.display_name*x"),
        (
            r#"groups.$ref ew "1""#,
            "https://x/acme/scim/v2/Groups/groups.id$!1",
        ),
        (r#"emails co "x""#, "profile.emails.value*x"),
        (r#"emails.type eq "work""#, "profile.emails.type=work"),
        (r#"addresses co "x""#, "profile.addresses.formatted*x"),
        (
            r#"ims.display sw "x""#,
            "profile.instant_messengers.display^x",
        ),
        (
            r#"x509Certificates.value eq "AAAA""#,
            "profile.certificates.value=!AAAA",
        ),
    ] {
        assert_eq!(user(text), tree, "{text}");
    }
    assert_eq!(group(r#"displayName eq "x""#), "display_name=x");
    assert_eq!(group(r#"members.value eq "x""#), "members.id=!x");
    assert_eq!(group(r#"members[value eq "x"]"#), "members[id=!x]");
    assert_eq!(
        group(r#"members.$ref eq "x""#),
        "https://x/acme/scim/v2/Users/members.id=!x"
    );
}

#[test]
fn extensions_are_reached_by_their_urn() {
    for (path, tree) in [
        (
            "employeeNumber eq \"7\"",
            "profile.enterprise.employee_number=7",
        ),
        (
            "manager.value eq \"7\"",
            "profile.enterprise.manager.value=!7",
        ),
        (
            "manager.displayName co \"x\"",
            "profile.enterprise.manager.display_name*x",
        ),
        ("manager pr", "profile.enterprise.manager?"),
        (
            "manager[value eq \"7\" and displayName pr]",
            "all(profile.enterprise.manager?, \
          profile.enterprise.manager.value=!7, profile.enterprise.manager.display_name?)",
        ),
    ] {
        assert_eq!(user(&format!("{}:{path}", ENTERPRISE_USER.id)), tree);
    }
    for (path, tree) in [
        ("roles eq \"x\"", "access.roles.id=!x"),
        ("roles.display eq \"x\"", "access.roles.name=x"),
        (
            "businessEntities.value eq \"x\"",
            "access.business_entities.id=!x",
        ),
        ("reach eq \"all\"", "access.reach=!all"),
    ] {
        assert_eq!(user(&format!("{}:{path}", ACCESS_USER.id)), tree);
    }
    assert_eq!(
        user(&format!("{} pr", ENTERPRISE_USER.id)),
        "profile.enterprise?"
    );
    assert_eq!(user(&format!("{} pr", ACCESS_USER.id)), "all");
    assert_eq!(
        user(&format!("{}:userName eq \"x\"", USER.schema.id)),
        "user_name=x"
    );
}

#[test]
fn logic_keeps_its_shape_and_loses_what_is_known() {
    for (text, tree) in [
        (
            r#"title pr or active eq true and not (userType eq "x")"#,
            "any(profile.title?, all(active=true, not(profile.user_type=x)))",
        ),
        (
            "title pr and (locale pr and active eq true)",
            "all(profile.title?, profile.locale?, active=true)",
        ),
        ("not (not (title pr))", "profile.title?"),
        (r#"schemas pr and title pr"#, "profile.title?"),
        (r#"meta.resourceType eq "Group" and title pr"#, "any"),
        (
            r#"meta.resourceType eq "Group" or title pr"#,
            "profile.title?",
        ),
        (r#"not (meta.resourceType eq "User")"#, "any"),
        (r#"meta.resourceType sw "Us""#, "all"),
        (r#"meta.resourceType eq "user""#, "any"),
        (r#"groups.type eq "DIRECT""#, "groups?"),
        (r#"groups.type eq "indirect""#, "any"),
        (r#"groups.type ne "direct""#, "not(groups?)"),
        (
            r#"groups[type eq "direct" and value eq "x"]"#,
            "groups[groups.id=!x]",
        ),
        (
            r#"entitlements.type eq "BusinessEntity""#,
            "entitlements.business_entities?",
        ),
        (r#"entitlements.type eq "businessentity""#, "any"),
        ("meta pr", "all"),
        ("name pr", "profile.name?"),
        ("emails pr", "profile.emails?"),
    ] {
        assert_eq!(
            user(text).replace("groups[id", "groups[groups.id"),
            tree,
            "{text}"
        );
    }
    assert_eq!(group(r#"members.type eq "user""#), "members?");
    let urn = |word: &str, urn: &str| user(&format!("schemas {word} \"{urn}\""));
    assert_eq!(urn("eq", USER.schema.id), "all");
    assert_eq!(urn("eq", ENTERPRISE_USER.id), "profile.enterprise?");
    assert_eq!(urn("ne", ENTERPRISE_USER.id), "not(profile.enterprise?)");
    assert_eq!(urn("eq", "urn:x"), "any");
}

/// Conformance: 48.
#[test]
fn brackets_bind_to_one_entry() {
    for (text, tree) in [
        (
            r#"emails[type eq "work" and value co "@a"]"#,
            "profile.emails[all(type=work, value*@a)]",
        ),
        (
            r#"emails[type eq "work"].value eq "x""#,
            "profile.emails[all(type=work, value=x)]",
        ),
        (
            r#"emails.type eq "work" and emails.value co "@a""#,
            "all(profile.emails.type=work, profile.emails.value*@a)",
        ),
        (
            "emails[display pr or not (type pr)]",
            "profile.emails[any(display?, not(type?))]",
        ),
        (
            "name[givenName pr]",
            "all(profile.name?, profile.name.given_name?)",
        ),
        ("emails[primary eq true]", "profile.emails[primary=true]"),
        // What is not said to be primary is not.
        (
            "emails[primary eq false]",
            "profile.emails[not(primary=true)]",
        ),
        ("emails[primary ne false]", "profile.emails[primary=true]"),
        (
            "emails.primary eq false",
            "profile.emails[not(primary=true)]",
        ),
        (
            "emails.primary ne false",
            "not(profile.emails[not(primary=true)])",
        ),
        ("emails.primary eq \"True\"", "profile.emails.primary=true"),
    ] {
        assert_eq!(user(text), tree, "{text}");
    }
}

/// Conformance: 49, 50.
#[test]
fn nothing_is_absence_however_it_is_written() {
    for (text, tree) in [
        ("title eq null", "not(profile.title?)"),
        ("title ne null", "profile.title?"),
        (r#"title eq """#, "not(profile.title?)"),
        (r#"title ne """#, "profile.title?"),
        ("emails eq null", "not(profile.emails?)"),
        ("emails ne null", "profile.emails?"),
        ("emails.display eq null", "not(profile.emails.display?)"),
        ("emails[display eq null]", "profile.emails[not(display?)]"),
        ("active eq null", "not(active?)"),
        ("roles eq null", "not(entitlements.roles?)"),
        (r#"title co """#, "profile.title*"),
    ] {
        assert_eq!(user(text), tree, "{text}");
    }
}

#[test]
fn what_is_always_or_never_there_is_known_here() {
    use crate::translate::query::{always, never, present};

    for (text, tree) in [
        ("meta.version pr", always()),
        ("meta[version pr]", always()),
        ("meta.version eq null", never()),
        ("meta.version ne null", always()),
    ] {
        assert_eq!(user(text), print(&tree), "{text}");
        assert_eq!(group(text), print(&tree), "{text}");
    }
    for (text, tree) in [
        ("members.display pr", never()),
        ("members.display eq null", always()),
        ("members.display eq \"x\"", never()),
        ("members.display co \"x\"", never()),
        ("members.display ne \"x\"", always()),
        ("members[display eq \"x\"]", never()),
        ("members[display ne \"x\"]", present("members")),
    ] {
        assert_eq!(group(text), print(&tree), "{text}");
    }
}

/// Conformance: 46, 51.
#[test]
fn what_has_no_meaning_is_refused_and_named() {
    for (text, named) in [
        ("nope eq \"x\"", "nope"),
        ("name.nope pr", "name.nope"),
        ("urn:x:y:z eq \"x\"", "urn:x:y:z"),
        ("employeeNumber pr", "employeeNumber"),
        ("emails[nope pr]", "nope"),
        ("emails[emails.type pr]", "emails.type"),
        ("userName[value pr]", "userName"),
        ("schemas[value pr]", "schemas"),
        ("name[nope pr]", "nope"),
        ("name eq \"x\"", "name"),
        ("name eq null", "name"),
        ("meta eq \"x\"", "meta"),
        ("password eq \"x\"", "password"),
        ("password pr", "password"),
        ("not (password eq null)", "password"),
        ("meta.version eq \"x\"", "meta.version"),
        ("meta.version ne \"x\"", "meta.version"),
        ("meta[version sw \"x\"]", "version"),
        ("active gt true", "active"),
        ("active co \"t\"", "active"),
        ("active eq 1", "active"),
        ("active eq \"yes\"", "active"),
        ("x509Certificates.value co \"A\"", "value"),
        ("x509Certificates.value gt \"A\"", "value"),
        ("meta.created co \"2011\"", "created"),
        (
            "meta.created gt \"yesterday\"",
            "created compares with a time",
        ),
        ("meta.created gt \"\"", "created"),
        ("meta.created gt 1", "created"),
        ("title eq 1", "title"),
        ("title gt null", "title"),
        ("title eq true", "title"),
        ("roles[nope pr]", "nope"),
        ("members pr", "members"),
    ] {
        let error = translate(&USER, &[], text).unwrap_err();
        assert_eq!(error.scim_type, Some(ScimType::InvalidFilter), "{text}");
        assert!(error.detail.contains(named), "{text}: {}", error.detail);
        assert!(!error.detail.contains("\"x\""), "{text}: {}", error.detail);
    }
}

#[test]
fn beside_another_type_its_attributes_have_no_value() {
    let beside = |text: &str| translate(&USER, &[&GROUP], text).map(|tree| print(&tree));
    for (text, tree) in [
        ("members pr", "any"),
        ("members.value eq \"x\"", "any"),
        ("members.value ne \"x\"", "all"),
        ("members eq null", "all"),
        ("members[value eq \"x\"]", "any"),
        ("displayName eq \"x\"", "profile.display_name=x"),
        ("members pr or title pr", "profile.title?"),
    ] {
        assert_eq!(beside(text).unwrap(), tree, "{text}");
    }
    assert!(beside("nope pr").is_err());
}

/// Conformance: 55.
#[test]
fn size_is_bounded_by_what_identity_reads() {
    let nested = |levels: usize| {
        // The condition that takes the most messages, in the levels that do.
        let mut text = "meta.created gt \"2026-01-01T00:00:00Z\"".to_owned();
        for level in 0..levels {
            let word = if level % 2 == 0 { "and" } else { "or" };
            text = format!("(locale pr {word} {text})");
        }
        text
    };
    let decoded = |tree: Tree| {
        let request = ListMembersRequest {
            filter: Some(tree),
            ..ListMembersRequest::default()
        };
        ListMembersRequest::decode(request.encode_to_vec().as_slice()).is_ok()
    };
    assert!(decoded(translate(&USER, &[], &nested(48)).unwrap()));
    let error = translate(&USER, &[], &nested(49)).unwrap_err();
    assert!(error.detail.contains("48 levels"), "{}", error.detail);
    let in_an_entry =
        |levels: usize| format!("emails[{}]", nested(levels).replace("locale", "type"));
    let in_an_entry = |levels| in_an_entry(levels).replace("meta.created gt", "value gt");
    assert!(decoded(translate(&USER, &[], &in_an_entry(47)).unwrap()));
    assert!(translate(&USER, &[], &in_an_entry(48)).is_err());
    let wide = |count: usize| vec!["a pr"; count].join(" or ").replace('a', "title");
    assert!(translate(&USER, &[], &wide(999)).is_ok());
    let error = translate(&USER, &[], &wide(1000)).unwrap_err();
    assert!(error.detail.contains("1000 conditions"));
}

#[test]
fn an_order_names_what_can_be_ordered() {
    let site = Site::new("https://x", "acme");
    let order = |resource_type, by: &str| {
        let reading = Reading {
            resource_type,
            beside: &[],
            site: &site,
        };
        let query = Query::parse(&format!("sortBy={by}&sortOrder=descending")).unwrap();
        let order = reading.order(&query.sort.unwrap());
        order.map(|order| order.map(|order| (order.field, order.descending, order.exact)))
    };
    let some = |field: &str, exact| Ok(Some((field.to_owned(), true, exact)));
    assert_eq!(order(&USER, "userName"), some("user_name", false));
    assert_eq!(order(&USER, "externalId"), some("external_id", true));
    assert_eq!(order(&USER, "emails"), some("profile.emails.value", false));
    assert_eq!(
        order(&USER, "addresses"),
        some("profile.addresses.formatted", false)
    );
    assert_eq!(
        order(&USER, "name.familyName"),
        some("profile.name.family_name", false)
    );
    assert_eq!(order(&USER, "meta.created"), some("create_time", false));
    assert_eq!(order(&USER, "meta.location"), some("id", true));
    assert_eq!(order(&GROUP, "displayName"), some("display_name", false));
    assert_eq!(order(&USER, "schemas"), Ok(None));
    for by in [
        "name",
        "nope",
        "password",
        "meta.version",
        ENTERPRISE_USER.id,
    ] {
        let error = order(&USER, by).unwrap_err();
        assert_eq!(error.scim_type, Some(ScimType::InvalidValue), "{by}");
        assert!(error.detail.starts_with("sortBy: "), "{}", error.detail);
    }
}

/// Every name that a filter may use, with and without parts.
fn names(resource_type: &'static ResourceType) -> Vec<String> {
    let mut names = Vec::new();
    let own = scim_protocol::schema::COMMON
        .iter()
        .chain(resource_type.schema.attributes)
        .map(|one| (String::new(), one));
    let extended = resource_type.extensions.iter().flat_map(|schema| {
        let urn = format!("{}:", schema.id);
        schema.attributes.iter().map(move |one| (urn.clone(), one))
    });
    for (urn, attribute) in own.chain(extended) {
        names.push(format!("{urn}{}", attribute.name));
        for sub in attribute.sub_attributes {
            names.push(format!("{urn}{}.{}", attribute.name, sub.name));
        }
    }
    names
}

#[test]
fn every_attribute_of_every_schema_can_be_asked_for() {
    for resource_type in [&USER, &GROUP] {
        for name in names(resource_type) {
            let outcome = translate(resource_type, &[], &format!("{name} pr"));
            assert_eq!(outcome.is_err(), name == "password", "{name}");
        }
    }
}

proptest! {
    #[test]
    fn a_translation_is_one_or_an_invalid_filter(
        names in proptest::collection::vec(proptest::sample::select(names(&USER)), 1..6),
        operator in proptest::sample::select(vec!["eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"]),
        literal in proptest::sample::select(vec!["\"x\"", "true", "null", "1", "\"\"", "\"2011-05-13T04:42:34Z\""]),
        word in proptest::sample::select(vec![" and ", " or "]),
    ) {
        let parts: Vec<String> = names.iter().map(|name| format!("{name} {operator} {literal}")).collect();
        let text = parts.join(word);
        match translate(&USER, &[], &text) {
            Ok(tree) => {
                // A part that is refused is refused wherever it stands.
                prop_assert!(parts.iter().all(|part| translate(&USER, &[], part).is_ok()));
                let negated = translate(&USER, &[], &format!("not (not ({text}))")).unwrap();
                prop_assert_eq!(tree, negated);
            }
            Err(error) => prop_assert_eq!(error.scim_type, Some(ScimType::InvalidFilter)),
        }
    }
}
