//! The columns of members, groups and grants in files: by the contract's names, with a dot between the parts.

use serde_json::{Map, Value};

use super::files::ERROR;

/// One column of CSV, or one path into an object of JSON Lines.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Column {
    pub(super) path: &'static str,
    pub(super) kind: Kind,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// A text; in CSV as it is.
    Text,
    /// true or false.
    Flag,
    /// A list; in CSV as JSON.
    List,
    /// User names; in CSV with space between them, of which a user name has none.
    UserNames,
}

/// A column of texts.
const fn text(path: &'static str) -> Column {
    Column {
        path,
        kind: Kind::Text,
    }
}

/// A column of lists.
const fn list(path: &'static str) -> Column {
    Column {
        path,
        kind: Kind::List,
    }
}

/// The columns of members.
pub(super) const MEMBERS: &[Column] = &[
    text("user_name"),
    text("external_id"),
    Column {
        path: "active",
        kind: Kind::Flag,
    },
    text("profile.name.given_name"),
    text("profile.name.family_name"),
    text("profile.name.middle_name"),
    text("profile.name.formatted"),
    text("profile.name.honorific_prefix"),
    text("profile.name.honorific_suffix"),
    text("profile.display_name"),
    text("profile.nick_name"),
    text("profile.profile_url"),
    text("profile.title"),
    text("profile.user_type"),
    text("profile.preferred_language"),
    text("profile.locale"),
    text("profile.time_zone"),
    list("profile.emails"),
    list("profile.phone_numbers"),
    list("profile.instant_messengers"),
    list("profile.photos"),
    list("profile.addresses"),
    list("profile.certificates"),
    text("profile.enterprise.employee_number"),
    text("profile.enterprise.cost_center"),
    text("profile.enterprise.organization"),
    text("profile.enterprise.division"),
    text("profile.enterprise.department"),
    text("profile.enterprise.manager.value"),
    text("profile.enterprise.manager.ref"),
    text("profile.enterprise.manager.display_name"),
    list("entitlements.roles"),
    list("entitlements.business_entities"),
];

/// The columns of groups.
pub(super) const GROUPS: &[Column] = &[
    text("display_name"),
    text("external_id"),
    text("target.kind"),
    text("target.name"),
    Column {
        path: "members",
        kind: Kind::UserNames,
    },
];

/// The columns of direct grants.
pub(super) const GRANTS: &[Column] = &[
    text("user_name"),
    text("target.kind"),
    text("target.name"),
    text("reason"),
    text("end_time"),
];

/// What a file says of one thing: only the columns that the file has.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row(Vec<(&'static Column, Value)>);

impl Row {
    /// A row of all columns, each from its path into an object.
    pub(super) fn of_object(columns: &'static [Column], object: &Value) -> Self {
        let cell = |column: &'static Column| {
            let value = column
                .path
                .split('.')
                .try_fold(object, |inner, part| inner.get(part));
            let empty = match column.kind {
                Kind::Text => Value::String(String::new()),
                Kind::Flag => Value::Bool(false),
                Kind::List | Kind::UserNames => Value::Array(Vec::new()),
            };
            let value = value.filter(|value| !value.is_null()).cloned();
            (column, value.unwrap_or(empty))
        };
        Self(columns.iter().map(cell).collect())
    }

    /// A row that an object of a file spells out: nothing but columns, each of its kind.
    pub(super) fn of_line(
        columns: &'static [Column],
        object: &Map<String, Value>,
    ) -> Result<Self, String> {
        let mut row = Self::default();
        row.read_object(columns, "", object)?;
        Ok(row)
    }

    fn read_object(
        &mut self,
        columns: &'static [Column],
        before: &str,
        object: &Map<String, Value>,
    ) -> Result<(), String> {
        for (name, value) in object {
            let path = format!("{before}{name}");
            // Of a file of refused rows.
            if path == ERROR {
                continue;
            }
            match (columns.iter().find(|column| column.path == path), value) {
                (Some(column), value) => self.0.push((column, checked(column, value.clone())?)),
                (None, Value::Object(inner)) if is_part(columns, &path) => {
                    self.read_object(columns, &format!("{path}."), inner)?;
                }
                (None, Value::Null) if is_part(columns, &path) => {}
                (None, _) => return Err(unknown(columns, &path)),
            }
        }
        Ok(())
    }

    /// A row of CSV's cells.
    pub(super) fn of_cells<'a>(
        columns: &[&'static Column],
        cells: impl Iterator<Item = &'a str>,
    ) -> Result<Self, String> {
        let mut row = Self::default();
        for (column, cell) in columns.iter().zip(cells) {
            let value = match column.kind {
                Kind::Text => Value::String(cell.to_owned()),
                // An empty cell says nothing.
                Kind::Flag if cell.trim().is_empty() => continue,
                Kind::Flag => match cell.trim().to_lowercase().as_str() {
                    "true" => Value::Bool(true),
                    "false" => Value::Bool(false),
                    _ => {
                        return Err(format!(
                            "{} must be true or false and is {cell:?}",
                            column.path
                        ));
                    }
                },
                Kind::List if cell.trim().is_empty() => Value::Array(Vec::new()),
                Kind::List => serde_json::from_str(cell)
                    .map_err(|error| format!("{} must be a list in JSON: {error}", column.path))?,
                Kind::UserNames => cell.split_whitespace().map(Value::from).collect(),
            };
            row.0.push((column, checked(column, value)?));
        }
        Ok(row)
    }

    /// The cells of CSV, in the order of the columns.
    pub(super) fn cells(&self) -> Vec<String> {
        let cell = |(column, value): &(&Column, Value)| match (column.kind, value) {
            (Kind::UserNames, Value::Array(names)) => names
                .iter()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join(" "),
            (Kind::List, Value::Array(list)) if list.is_empty() => String::new(),
            (_, Value::String(text)) => text.clone(),
            (_, value) => value.to_string(),
        };
        self.0.iter().map(cell).collect()
    }

    /// The object of JSON Lines.
    pub(super) fn object(&self) -> Value {
        let mut object = Value::Object(Map::new());
        for (column, value) in &self.0 {
            set(&mut object, column.path, value.clone());
        }
        object
    }

    /// Whether the file has this column.
    pub(super) fn has(&self, path: &str) -> bool {
        self.get(path).is_some()
    }

    /// A text; none where the file does not have it.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.get(path)?.as_str()
    }

    /// A flag; none where the file does not have it.
    pub(super) fn flag(&self, path: &str) -> Option<bool> {
        self.get(path)?.as_bool()
    }

    /// A list of texts; none where the file does not have it.
    pub(super) fn texts(&self, path: &str) -> Option<Vec<&str>> {
        Some(
            self.get(path)?
                .as_array()?
                .iter()
                .filter_map(Value::as_str)
                .collect(),
        )
    }

    /// The columns whose path begins so, with what they hold.
    pub(super) fn below<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'static str, &'a Value)> {
        self.0
            .iter()
            .filter(move |(column, _)| column.path.starts_with(prefix))
            .map(|(column, value)| (column.path, value))
    }

    fn get(&self, path: &str) -> Option<&Value> {
        let cell = self.0.iter().find(|(column, _)| column.path == path);
        cell.map(|(_, value)| value)
    }
}

/// Sets what stands at a path, and makes the objects on the way.
pub(super) fn set(object: &mut Value, path: &str, value: Value) {
    let mut inner = object;
    for part in path.split('.') {
        if !inner.is_object() {
            *inner = Value::Object(Map::new());
        }
        inner = &mut inner[part];
    }
    *inner = value;
}

/// The column of this name.
pub(super) fn find(columns: &'static [Column], path: &str) -> Result<&'static Column, String> {
    let found = columns.iter().find(|column| column.path == path);
    found.ok_or_else(|| unknown(columns, path))
}

/// The columns' names, as the first line of CSV may have them.
pub(super) fn listed(columns: &[Column]) -> String {
    let paths: Vec<&str> = columns.iter().map(|column| column.path).collect();
    paths.join(", ")
}

fn unknown(columns: &[Column], path: &str) -> String {
    let paths: Vec<String> = columns
        .iter()
        .map(|column| column.path.to_owned())
        .collect();
    let close = identity_forms::names::closest(path, &paths);
    // What stands behind the last dot may be all that was written.
    let ending = paths
        .iter()
        .find(|known| known.ends_with(&format!(".{path}")));
    match ending.or(close.first()) {
        Some(meant) => format!("there is no column {path:?}; did you mean {meant}?"),
        None => format!(
            "there is no column {path:?}; there are {}",
            paths.join(", ")
        ),
    }
}

/// Whether columns lie below a path.
fn is_part(columns: &[Column], path: &str) -> bool {
    let prefix = format!("{path}.");
    columns
        .iter()
        .any(|column| column.path.starts_with(&prefix))
}

/// A value that is of its column's kind.
fn checked(column: &Column, value: Value) -> Result<Value, String> {
    let wrong = |what: &str| Err(format!("{} must be {what}", column.path));
    match (column.kind, &value) {
        (Kind::Text, Value::Null) => Ok(Value::String(String::new())),
        (Kind::List | Kind::UserNames, Value::Null) => Ok(Value::Array(Vec::new())),
        (Kind::UserNames, Value::Array(names)) if !names.iter().all(Value::is_string) => {
            wrong("a list of user names")
        }
        (Kind::Text, Value::String(_))
        | (Kind::Flag, Value::Bool(_))
        | (Kind::List | Kind::UserNames, Value::Array(_)) => Ok(value),
        (Kind::Text, _) => wrong("a text"),
        (Kind::Flag, _) => wrong("true or false"),
        (Kind::List | Kind::UserNames, _) => wrong("a list"),
    }
}

#[cfg(test)]
mod tests {
    use identity_proto::v1::{Enterprise, Manager, MemberProfile, PersonName};
    use serde_json::json;

    use super::*;

    #[test]
    fn every_attribute_of_a_profile_that_can_be_set_has_a_column() {
        fn check(value: &Value, path: &str) {
            match value {
                Value::Object(inner) => {
                    for (name, value) in inner {
                        check(value, &format!("{path}.{name}"));
                    }
                }
                _ => assert!(find(MEMBERS, path).is_ok(), "{path}"),
            }
        }
        let enterprise = Enterprise {
            manager: Some(Manager::default()),
            ..Enterprise::default()
        };
        let profile = MemberProfile {
            name: Some(PersonName::default()),
            enterprise: Some(enterprise),
            ..MemberProfile::default()
        };
        let mut value = serde_json::to_value(profile).unwrap();
        // What a client took away is not written.
        value.as_object_mut().unwrap().remove("removed");
        check(&value, "profile");
    }

    #[test]
    fn a_row_is_the_same_by_cells_and_by_lines() {
        let object = json!({
            "display_name": "CB/acme/ROLE/A, \"B\"",
            "external_id": "",
            "target": {"kind": "role", "name": "A, \"B\""},
            "members": ["a@x", "b@x"],
        });
        let row = Row::of_object(GROUPS, &object);
        assert_eq!(row.object(), object);
        let line = Row::of_line(GROUPS, object.as_object().unwrap()).unwrap();
        assert_eq!(line.object(), object);
        let cells = row.cells();
        let columns: Vec<_> = GROUPS.iter().collect();
        let again = Row::of_cells(&columns, cells.iter().map(String::as_str)).unwrap();
        assert_eq!(again, row);
    }

    #[test]
    fn what_is_no_column_or_not_of_its_kind_is_said() {
        let line = |object: Value| Row::of_line(MEMBERS, object.as_object().unwrap()).unwrap_err();
        assert!(line(json!({"usr_name": "a"})).contains("did you mean user_name?"));
        assert!(line(json!({"given_name": "a"})).contains("profile.name.given_name"));
        assert!(line(json!({"active": "yes"})).contains("true or false"));
        assert!(line(json!({"profile": {"emails": "a@x"}})).contains("a list"));
        assert!(line(json!({"profile": {"title": 3}})).contains("a text"));
        let columns = [find(MEMBERS, "active").unwrap()];
        assert!(Row::of_cells(&columns, ["maybe"].into_iter()).is_err());
        assert!(
            !Row::of_cells(&columns, [""].into_iter())
                .unwrap()
                .has("active")
        );
    }
}
