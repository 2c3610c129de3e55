//! PATCH against a model of it: random users, random operations, the same user or the same error.
//!
//! The model knows a user with a title, a name, e-mail addresses and a department, as plain values instead of JSON,
//! and follows the text of RFC 7644 section 3.5.2 and the choices that `patch.rs` names.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::{
    ScimType,
    patch::{Op, PATCH_SCHEMA, apply, parse},
    user::{ENTERPRISE_USER, USER},
};

#[derive(Clone, Debug, Default, PartialEq)]
struct Email {
    value: Option<String>,
    label: Option<String>,
    primary: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct User {
    title: Option<String>,
    /// `givenName` and `familyName`.
    name: BTreeMap<&'static str, String>,
    emails: Vec<Email>,
    department: Option<String>,
}

/// What an operation works on.
#[derive(Clone, Debug)]
enum Target {
    Title(Option<String>),
    NamePart(&'static str, Option<String>),
    Name(Vec<(&'static str, Option<String>)>),
    /// The list; none for a `remove` of all of it.
    Emails(Option<Vec<Email>>),
    /// The entries of a label.
    Labelled(String, Email),
    /// The values of the entries of a label.
    LabelledValue(String, Option<String>),
    /// Whether the entries of a value are primary.
    Primary(String, bool),
    Department(Option<String>),
    Extension(Option<String>),
    /// Without a path: a title, a given name, and what is read-only or unknown.
    Pathless(Option<String>, Option<String>),
    UserName,
    Id,
    Unknown,
    NotAText,
}

fn text(value: &Option<String>) -> Value {
    value.as_ref().map_or(Value::Null, |text| json!(text))
}

impl Email {
    fn json(&self) -> Value {
        let mut parts = Map::new();
        for (name, part) in [("value", &self.value), ("type", &self.label)] {
            if let Some(part) = part {
                parts.insert(name.to_owned(), json!(part));
            }
        }
        if let Some(primary) = self.primary {
            parts.insert("primary".to_owned(), json!(primary));
        }
        Value::Object(parts)
    }

    fn take(&mut self, other: &Self) {
        self.value = other.value.clone().or(self.value.take());
        self.label = other.label.clone().or(self.label.take());
        self.primary = other.primary.or(self.primary);
    }

    /// Whether all that `other` says is so here.
    fn has(&self, other: &Self) -> bool {
        (other.value.is_none() || other.value == self.value)
            && (other.label.is_none() || other.label == self.label)
            && (other.primary.is_none() || other.primary == self.primary)
    }
}

impl User {
    fn json(&self) -> Map<String, Value> {
        let mut user = Map::from_iter([("userName".to_owned(), json!("a@b"))]);
        if let Some(title) = &self.title {
            user.insert("title".to_owned(), json!(title));
        }
        if !self.name.is_empty() {
            user.insert("name".to_owned(), json!(self.name));
        }
        if !self.emails.is_empty() {
            let emails = self.emails.iter().map(Email::json).collect();
            user.insert("emails".to_owned(), Value::Array(emails));
        }
        if let Some(department) = &self.department {
            let extension = json!({"department": department});
            user.insert(ENTERPRISE_USER.id.to_owned(), extension);
        }
        user
    }

    fn apply(&mut self, op: Op, target: &Target) -> Result<(), ScimType> {
        match target {
            Target::Title(value) => set(&mut self.title, op, value),
            Target::NamePart(part, value) => self.set_name(op, part, value),
            Target::Name(_) if op == Op::Remove => self.name.clear(),
            Target::Name(parts) => {
                for (part, value) in parts {
                    self.set_name(op, part, value);
                }
            }
            Target::Emails(sent) => return self.apply_emails(op, sent.as_deref()),
            Target::Labelled(label, sent) => return self.apply_labelled(op, label, sent),
            Target::LabelledValue(label, value) => {
                return self.apply_labelled_value(op, label, value);
            }
            Target::Primary(value, primary) => {
                let found = self.positions(|email| email.value.as_ref() == Some(value));
                if found.is_empty() {
                    return Err(ScimType::NoTarget);
                }
                for &index in &found {
                    self.emails[index].primary = (op != Op::Remove).then_some(*primary);
                }
                if op != Op::Remove {
                    self.prefer(&found)?;
                    self.merge(&found);
                }
            }
            Target::Department(value) | Target::Extension(value) => {
                set(&mut self.department, op, value);
            }
            Target::Pathless(title, given) => {
                // A `remove` without a path is none.
                if op == Op::Remove {
                    return Err(ScimType::NoTarget);
                }
                set(&mut self.title, op, title);
                self.set_name(op, "givenName", given);
            }
            Target::UserName if op == Op::Remove => return Err(ScimType::Mutability),
            Target::UserName if op == Op::Replace => return Err(ScimType::InvalidValue),
            // Adding nothing adds nothing.
            Target::UserName => {}
            Target::Id => return Err(ScimType::Mutability),
            Target::Unknown => return Err(ScimType::InvalidPath),
            Target::NotAText if op == Op::Remove => self.title = None,
            Target::NotAText => return Err(ScimType::InvalidValue),
        }
        Ok(())
    }

    fn set_name(&mut self, op: Op, part: &'static str, value: &Option<String>) {
        let mut before = self.name.remove(part);
        set(&mut before, op, value);
        if let Some(value) = before {
            self.name.insert(part, value);
        }
    }

    fn positions(&self, wanted: impl Fn(&Email) -> bool) -> Vec<usize> {
        let emails = self.emails.iter().enumerate();
        emails
            .filter(|(_, email)| wanted(email))
            .map(|(index, _)| index)
            .collect()
    }

    fn apply_emails(&mut self, op: Op, sent: Option<&[Email]>) -> Result<(), ScimType> {
        if sent.is_none() && op == Op::Remove {
            self.emails.clear();
        }
        let sent = sent.unwrap_or_default();
        if sent
            .iter()
            .filter(|email| email.primary == Some(true))
            .count()
            > 1
        {
            return Err(ScimType::InvalidValue);
        }
        if op == Op::Remove {
            self.emails
                .retain(|email| !sent.iter().any(|one| email.has(one)));
            return Ok(());
        }
        if op == Op::Replace {
            self.emails.clear();
        }
        let mut touched = Vec::new();
        for email in sent {
            let same = self.positions(|one| one.value == email.value && one.label == email.label);
            touched.push(match same.first() {
                Some(&index) => {
                    self.emails[index].take(email);
                    index
                }
                None => {
                    self.emails.push(email.clone());
                    self.emails.len() - 1
                }
            });
        }
        touched.sort_unstable();
        touched.dedup();
        self.prefer(&touched)
    }

    fn apply_labelled(&mut self, op: Op, label: &str, sent: &Email) -> Result<(), ScimType> {
        let found = self.positions(|email| email.label.as_deref() == Some(label));
        if found.is_empty() {
            return Err(ScimType::NoTarget);
        }
        if op == Op::Remove {
            self.emails
                .retain(|email| email.label.as_deref() != Some(label));
            return Ok(());
        }
        for &index in &found {
            if op == Op::Replace {
                self.emails[index] = Email::default();
            }
            self.emails[index].take(sent);
        }
        self.prefer(&found)?;
        self.merge(&found);
        Ok(())
    }

    fn apply_labelled_value(
        &mut self,
        op: Op,
        label: &str,
        value: &Option<String>,
    ) -> Result<(), ScimType> {
        let found = self.positions(|email| email.label.as_deref() == Some(label));
        match (found.is_empty(), op) {
            (true, Op::Remove) => return Err(ScimType::NoTarget),
            // Entra expects the entry to be made.
            (true, _) => self.emails.push(Email {
                value: value.clone(),
                label: Some(label.to_owned()),
                primary: None,
            }),
            (false, _) => {
                for &index in &found {
                    set(&mut self.emails[index].value, op, value);
                }
                if op != Op::Remove {
                    self.prefer(&found)?;
                }
            }
        }
        self.merge(&found);
        Ok(())
    }

    /// Entries that say nothing but how they are labelled are none. Entries that have become the same are one; what
    /// was written comes last then, and has the last word.
    fn merge(&mut self, written: &[usize]) {
        let all = std::mem::take(&mut self.emails).into_iter().enumerate();
        let held = all.filter(|(_, email)| email.value.is_some());
        let (last, first): (Vec<_>, Vec<_>) =
            held.clone().partition(|(index, _)| written.contains(index));
        let mut one_each = Vec::<Email>::new();
        for (_, email) in first.into_iter().chain(last) {
            let mut same = one_each.iter_mut();
            match same.find(|one| one.value == email.value && one.label == email.label) {
                Some(one) => one.take(&email),
                None => one_each.push(email),
            }
        }
        let all: Vec<Email> = held.map(|(_, email)| email).collect();
        self.emails = if one_each.len() == all.len() {
            all
        } else {
            one_each
        };
    }

    /// A primary entry among those that were written takes that from all others; two of them contradict.
    fn prefer(&mut self, touched: &[usize]) -> Result<(), ScimType> {
        let is_primary = |email: &Email| email.primary == Some(true);
        let preferred = touched
            .iter()
            .filter(|&&index| is_primary(&self.emails[index]));
        match preferred.count() {
            0 => Ok(()),
            1 => {
                for (index, email) in self.emails.iter_mut().enumerate() {
                    if email.primary == Some(true) && !touched.contains(&index) {
                        email.primary = Some(false);
                    }
                }
                Ok(())
            }
            _ => Err(ScimType::InvalidValue),
        }
    }
}

fn set(place: &mut Option<String>, op: Op, value: &Option<String>) {
    match (op, value) {
        (Op::Remove, _) | (Op::Replace, None) => *place = None,
        (Op::Add, None) => {}
        (_, Some(value)) => *place = Some(value.clone()),
    }
}

/// The operation on the wire.
fn operation(op: Op, target: &Target) -> Value {
    let op = match op {
        Op::Add => "add",
        Op::Replace => "Replace",
        Op::Remove => "remove",
    };
    let extension = ENTERPRISE_USER.id;
    let (path, value) = match target {
        Target::Title(value) => ("title".to_owned(), text(value)),
        Target::NamePart(part, value) => (format!("name.{part}"), text(value)),
        Target::Name(parts) => {
            let parts = parts
                .iter()
                .map(|(part, value)| ((*part).to_owned(), text(value)));
            ("NAME".to_owned(), Value::Object(parts.collect()))
        }
        Target::Emails(None) => return json!({"op": op, "path": "emails", "value": null}),
        Target::Emails(Some(emails)) => {
            let emails = emails.iter().map(Email::json).collect();
            ("emails".to_owned(), Value::Array(emails))
        }
        Target::Labelled(label, email) => (format!("emails[type eq \"{label}\"]"), email.json()),
        Target::LabelledValue(label, value) => {
            (format!("emails[type eq \"{label}\"].value"), text(value))
        }
        Target::Primary(value, primary) => (
            format!("emails[value eq \"{value}\"].primary"),
            json!(primary),
        ),
        Target::Department(value) => (format!("{extension}:department"), text(value)),
        Target::Extension(value) => (extension.to_owned(), json!({"department": text(value)})),
        Target::Pathless(title, given) => {
            let value = json!({
                "id": "x", "nope": 1, "title": text(title), "name.givenName": text(given),
            });
            return json!({"op": op, "value": value});
        }
        Target::UserName => ("userName".to_owned(), json!("")),
        Target::Id => ("id".to_owned(), json!("x")),
        Target::Unknown => ("nope.x".to_owned(), json!("x")),
        Target::NotAText => ("title".to_owned(), json!(7)),
    };
    json!({"op": op, "path": path, "value": value})
}

fn some_text() -> impl Strategy<Value = Option<String>> {
    proptest::option::of("[a-c]")
}

fn some_part() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec!["givenName", "familyName"])
}

fn some_label() -> impl Strategy<Value = String> {
    "work|home"
}

fn some_email() -> impl Strategy<Value = Email> {
    (
        "[a-c]",
        proptest::option::of(some_label()),
        proptest::option::of(any::<bool>()),
    )
        .prop_map(|(value, label, primary)| Email {
            value: Some(value),
            label,
            primary,
        })
}

fn some_user() -> impl Strategy<Value = User> {
    (
        some_text(),
        proptest::collection::btree_map(some_part(), "[a-c]", 0..3),
        proptest::collection::vec(some_email(), 0..4),
        some_text(),
    )
        .prop_map(|(title, name, sent, department)| {
            let mut emails: Vec<Email> = Vec::new();
            for mut email in sent {
                let repeats = |one: &Email| one.value == email.value && one.label == email.label;
                if emails.iter().any(repeats) {
                    continue;
                }
                if emails.iter().any(|one| one.primary == Some(true)) {
                    email.primary = None;
                }
                emails.push(email);
            }
            User {
                title,
                name,
                emails,
                department,
            }
        })
}

fn some_target() -> impl Strategy<Value = Target> {
    prop_oneof![
        2 => some_text().prop_map(Target::Title),
        2 => (some_part(), some_text()).prop_map(|(part, value)| Target::NamePart(part, value)),
        2 => proptest::collection::btree_map(some_part(), some_text(), 0..3)
            .prop_map(|parts| Target::Name(parts.into_iter().collect())),
        4 => proptest::collection::vec(some_email(), 0..3).prop_map(|all| Target::Emails(Some(all))),
        1 => Just(Target::Emails(None)),
        3 => (some_label(), some_email()).prop_map(|(label, email)| Target::Labelled(label, email)),
        3 => (some_label(), some_text()).prop_map(|(label, value)| Target::LabelledValue(label, value)),
        2 => ("[a-c]", any::<bool>()).prop_map(|(value, primary)| Target::Primary(value, primary)),
        1 => some_text().prop_map(Target::Department),
        1 => some_text().prop_map(Target::Extension),
        2 => (some_text(), some_text()).prop_map(|(title, given)| Target::Pathless(title, given)),
        1 => proptest::sample::select(vec![
            Target::UserName, Target::Id, Target::Unknown, Target::NotAText,
        ]),
    ]
}

fn some_op() -> impl Strategy<Value = Op> {
    proptest::sample::select(vec![Op::Add, Op::Replace, Op::Remove])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Conformance: 74, 78, 79, 81, 85.
    #[test]
    fn the_same_user_or_the_same_error(
        user in some_user(),
        steps in proptest::collection::vec((some_op(), some_target()), 1..6),
    ) {
        let operations: Vec<Value> = steps.iter().map(|(op, target)| operation(*op, target)).collect();
        let mut model = user.clone();
        // Reading the message comes first, so what is no operation is found before the others run.
        let malformed = steps
            .iter()
            .any(|(op, target)| *op == Op::Remove && matches!(target, Target::Pathless(..)));
        let expected = if malformed {
            Err(Some(ScimType::NoTarget))
        } else {
            steps
                .iter()
                .try_for_each(|(op, target)| model.apply(*op, target))
                .map(|()| model.json())
                .map_err(Some)
        };
        let body = json!({"schemas": [PATCH_SCHEMA], "Operations": operations});
        let outcome = parse(body)
            .and_then(|operations| apply(&USER, &user.json(), &operations))
            .map_err(|error| error.scim_type);
        prop_assert_eq!(outcome, expected);
    }
}
