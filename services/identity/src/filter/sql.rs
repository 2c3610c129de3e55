//! Turns conditions and orders into SQL. Names become expressions that stand in our own tables of
//! fields, values are bound.

use super::{Comparison, Condition, Field, Fields, List, Operator, Order, PageToken, Value};
use crate::{db::Sql, error::Error, ids, names};
use diesel::sql_types::{Array, Bool, Integer, Text, Timestamptz, Uuid as SqlUuid};

fn refused(what: impl Into<String>) -> Error {
    Error::invalid("filter", what)
}

/// Adds a condition over the fields, in parentheses.
pub(crate) fn push_condition(
    sql: &mut Sql,
    condition: &Condition,
    fields: &impl Fields,
) -> Result<(), Error> {
    push(sql, condition, &|name| fields.field(name), false)
}

type Lookup<'a> = &'a dyn Fn(&str) -> Option<Field>;

/// `negated`: somewhere below a NOT, where "unknown" must count as false. Elsewhere it may stay
/// unknown, so that an index can serve the comparison.
fn push(
    sql: &mut Sql,
    condition: &Condition,
    field: Lookup<'_>,
    negated: bool,
) -> Result<(), Error> {
    match condition {
        Condition::All(parts) => push_joined(sql, parts, " AND ", "true", field, negated),
        Condition::Any(parts) => push_joined(sql, parts, " OR ", "false", field, negated),
        Condition::Not(inner) => {
            sql.push("(NOT ");
            push(sql, inner, field, true)?;
            sql.push(")");
            Ok(())
        }
        Condition::Present(name) => push_present(sql, name, field),
        Condition::Entry(name, inner) => match field(name) {
            Some(Field::List(list)) => push_entry(sql, &list, inner, negated),
            _ => Err(refused(format!(
                "takes \"{name}\" for a list, which it is not"
            ))),
        },
        Condition::Compare(comparison) => push_comparison(sql, comparison, field, negated),
    }
}

fn push_joined(
    sql: &mut Sql,
    parts: &[Condition],
    joint: &str,
    of_none: &str,
    field: Lookup<'_>,
    negated: bool,
) -> Result<(), Error> {
    if parts.is_empty() {
        sql.push(of_none);
        return Ok(());
    }
    sql.push("(");
    for (n, part) in parts.iter().enumerate() {
        if n > 0 {
            sql.push(joint);
        }
        push(sql, part, field, negated)?;
    }
    sql.push(")");
    Ok(())
}

impl List {
    fn part(&self, name: &str) -> Option<Field> {
        self.parts
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, field)| field.clone())
    }
}

fn push_exists(
    sql: &mut Sql,
    list: &List,
    inner: impl FnOnce(&mut Sql) -> Result<(), Error>,
) -> Result<(), Error> {
    sql.push("EXISTS (SELECT ");
    sql.push(&list.rows);
    sql.push(" AND ");
    inner(sql)?;
    sql.push(")");
    Ok(())
}

/// One entry that satisfies a condition. Where that needs a value of which there are keys, their index finds the
/// rows that can have such an entry at all.
fn push_entry(sql: &mut Sql, list: &List, inner: &Condition, negated: bool) -> Result<(), Error> {
    let needed = list
        .indexed
        .and_then(|(part, column)| Some((column, needed(inner, part)?)));
    if let Some((column, text)) = needed {
        sql.push(&format!("({column} @> ?"));
        sql.push_bind::<Array<Text>, _>(vec![names::key(text)]);
        sql.push(" AND ");
    }
    push_exists(sql, list, |sql| {
        push(sql, inner, &|part| list.part(part), negated)
    })?;
    if needed.is_some() {
        sql.push(")");
    }
    Ok(())
}

/// The text that a part must equal, whatever else the condition asks.
fn needed<'a>(condition: &'a Condition, part: &str) -> Option<&'a str> {
    match condition {
        Condition::All(parts) => parts.iter().find_map(|inner| needed(inner, part)),
        Condition::Compare(comparison) if comparison.field == part => equal_text(comparison),
        _ => None,
    }
}

/// The text of a comparison that an index of keys can serve.
fn equal_text(comparison: &Comparison) -> Option<&str> {
    match (&comparison.value, comparison.operator) {
        (Value::Text(text), Operator::Equal)
            if !comparison.exact && comparison.prefix.is_empty() =>
        {
            Some(text)
        }
        _ => None,
    }
}

/// What a name leads to: a field of its own, or a part of a list.
enum Found {
    Field(Field),
    Part(List, &'static str, Field),
}

fn find(name: &str, field: Lookup<'_>) -> Result<Found, Error> {
    if let Some(found) = field(name) {
        return Ok(Found::Field(found));
    }
    if let Some((list, part)) = name.rsplit_once('.')
        && let Some(Field::List(list)) = field(list)
        && let Some((known, found)) = list.parts.iter().find(|(known, _)| *known == part)
    {
        let (known, found) = (*known, found.clone());
        return Ok(Found::Part(list, known, found));
    }
    Err(refused(format!(
        "names the field \"{name}\", which there is not"
    )))
}

fn push_present(sql: &mut Sql, name: &str, field: Lookup<'_>) -> Result<(), Error> {
    match find(name, field)? {
        Found::Field(Field::List(list)) => push_exists(sql, &list, |sql| {
            sql.push("true");
            Ok(())
        }),
        Found::Field(found) => push_not_null(sql, &found),
        Found::Part(list, _, part) => push_exists(sql, &list, |sql| push_not_null(sql, &part)),
    }
}

fn push_not_null(sql: &mut Sql, field: &Field) -> Result<(), Error> {
    let expression = match field {
        Field::Id(expression)
        | Field::Flag(expression)
        | Field::Moment(expression)
        | Field::Whole(expression)
        | Field::Key {
            exact: expression, ..
        } => expression,
        // What is searched holds what is shown and not stored, too: the address that is derived.
        Field::Text { folded, .. } => folded,
        Field::List(_) => return Err(refused("asks for a list within a list")),
    };
    sql.push(&format!("({expression} IS NOT NULL)"));
    Ok(())
}

fn push_comparison(
    sql: &mut Sql,
    comparison: &Comparison,
    field: Lookup<'_>,
    negated: bool,
) -> Result<(), Error> {
    match find(&comparison.field, field)? {
        Found::Field(found) => push_scalar(sql, comparison, &found, negated),
        Found::Part(list, part, found) => {
            if let (Some((indexed, column)), Some(text)) = (list.indexed, equal_text(comparison))
                && indexed == part
            {
                sql.push(&format!("({column} @> ?)"));
                sql.push_bind::<Array<Text>, _>(vec![names::key(text)]);
                return Ok(());
            }
            if comparison.operator == Operator::NotEqual {
                let equal = Comparison {
                    operator: Operator::Equal,
                    ..comparison.clone()
                };
                sql.push("(NOT ");
                push_exists(sql, &list, |sql| push_scalar(sql, &equal, &found, true))?;
                sql.push(")");
                return Ok(());
            }
            push_exists(sql, &list, |sql| {
                push_scalar(sql, comparison, &found, negated)
            })
        }
    }
}

fn push_scalar(
    sql: &mut Sql,
    comparison: &Comparison,
    field: &Field,
    negated: bool,
) -> Result<(), Error> {
    let unfit = || {
        refused(format!(
            "compares \"{}\" in a way that its kind does not allow",
            comparison.field
        ))
    };
    let (open, close) = if negated {
        ("coalesce(", ", false)")
    } else {
        ("(", ")")
    };
    sql.push(open);
    match (field, &comparison.value) {
        (Field::Id(expression), Value::Text(text)) => push_id(sql, comparison, expression, text),
        (Field::Key { exact, key }, Value::Text(text)) => {
            let whole = matches!(comparison.operator, Operator::Equal | Operator::NotEqual);
            if comparison.exact {
                push_text(sql, comparison, exact, text.clone());
            } else {
                let text = if whole {
                    names::key(text)
                } else {
                    names::fold(text)
                };
                push_text(sql, comparison, key, text);
            }
        }
        (Field::Text { exact, folded }, Value::Text(text)) => {
            if comparison.exact {
                push_text(sql, comparison, exact, text.clone());
            } else {
                push_text(sql, comparison, folded, names::fold(text));
            }
        }
        (Field::Flag(expression), Value::Flag(flag)) => {
            let operator = match comparison.operator {
                Operator::Equal => "=",
                Operator::NotEqual => "IS DISTINCT FROM",
                _ => return Err(unfit()),
            };
            sql.push(&format!("{expression} {operator} ?"));
            sql.push_bind::<Bool, _>(*flag);
        }
        (Field::Moment(expression), Value::Moment(moment)) => {
            let operator = ordering(comparison.operator).ok_or_else(unfit)?;
            sql.push(&format!("{expression} {operator} ?"));
            sql.push_bind::<Timestamptz, _>(*moment);
        }
        _ => return Err(unfit()),
    }
    sql.push(close);
    Ok(())
}

/// The operators that need no more than an order; none for those on texts.
fn ordering(operator: Operator) -> Option<&'static str> {
    Some(match operator {
        Operator::Equal => "=",
        Operator::NotEqual => "IS DISTINCT FROM",
        Operator::Greater => ">",
        Operator::GreaterOrEqual => ">=",
        Operator::Less => "<",
        Operator::LessOrEqual => "<=",
        Operator::Contains | Operator::StartsWith | Operator::EndsWith => return None,
    })
}

/// An id: equality by the id itself, so that an index serves it; what is no id as we write them is nobody's.
fn push_id(sql: &mut Sql, comparison: &Comparison, expression: &str, text: &str) {
    let id = text
        .strip_prefix(&comparison.prefix)
        .and_then(ids::as_written);
    match (comparison.operator, id) {
        (Operator::Equal, Some(id)) => {
            sql.push(&format!("{expression} = ?"));
            sql.push_bind::<SqlUuid, _>(id);
        }
        (Operator::NotEqual, Some(id)) => {
            sql.push(&format!("{expression} <> ?"));
            sql.push_bind::<SqlUuid, _>(id);
        }
        (Operator::Equal, None) => sql.push("false"),
        (Operator::NotEqual, None) => sql.push("true"),
        _ => push_text(
            sql,
            comparison,
            &format!("{expression}::text"),
            text.to_owned(),
        ),
    }
}

fn push_text(sql: &mut Sql, comparison: &Comparison, expression: &str, text: String) {
    if comparison.prefix.is_empty() {
        push_text_test(sql, comparison.operator, expression, None, text);
    } else {
        push_text_test(
            sql,
            comparison.operator,
            expression,
            Some(&comparison.prefix),
            text,
        );
    }
}

fn push_text_test(
    sql: &mut Sql,
    operator: Operator,
    expression: &str,
    prefix: Option<&str>,
    text: String,
) {
    let operand = |sql: &mut Sql| match prefix {
        None => sql.push(expression),
        Some(prefix) => {
            sql.push("(?");
            sql.push_bind::<Text, _>(prefix.to_owned());
            sql.push(&format!(" || {expression})"));
        }
    };
    // The default collation may be anything; ours is by code point.
    match (operator, ordering(operator)) {
        (Operator::Equal | Operator::NotEqual, Some(operator)) => {
            operand(sql);
            sql.push(&format!(" {operator} ?"));
            sql.push_bind::<Text, _>(text);
        }
        (_, Some(operator)) => {
            operand(sql);
            sql.push(&format!(" COLLATE \"C\" {operator} ?"));
            sql.push_bind::<Text, _>(text);
        }
        (Operator::StartsWith, None) => {
            sql.push("starts_with(");
            operand(sql);
            sql.push(", ?)");
            sql.push_bind::<Text, _>(text);
        }
        (Operator::EndsWith, None) => {
            let length = i32::try_from(text.chars().count()).unwrap_or(i32::MAX);
            sql.push("right(");
            operand(sql);
            sql.push(", ?) = ?");
            sql.push_bind::<Integer, _>(length);
            sql.push_bind::<Text, _>(text);
        }
        (_, None) => {
            sql.push("strpos(");
            operand(sql);
            sql.push(", ?) > 0");
            sql.push_bind::<Text, _>(text);
        }
    }
}

/// What rows are ordered by, as a text that sorts as the field does; NULL where there is no value.
pub(crate) fn sort_key(order: &Order, fields: &impl Fields) -> Result<String, Error> {
    let unfit = || {
        Error::invalid(
            "order",
            format!("names \"{}\", which nothing can be ordered by", order.field),
        )
    };
    let found = find(&order.field, &|name| fields.field(name)).map_err(|_| unfit())?;
    let expression = |field: &Field| -> Result<String, Error> {
        Ok(match field {
            Field::Id(expression) => format!("{expression}::text"),
            Field::Text { exact, .. } | Field::Key { exact, .. } if order.exact => exact.clone(),
            Field::Text { folded, .. } => folded.clone(),
            Field::Key { key, .. } => key.clone(),
            Field::Flag(expression) => format!("({expression})::text"),
            Field::Moment(expression) => {
                format!("to_char({expression} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')")
            }
            Field::Whole(_) | Field::List(_) => return Err(unfit()),
        })
    };
    Ok(match found {
        Found::Field(field) => format!("({})", expression(&field)?),
        Found::Part(list, _, field) => {
            format!(
                "(SELECT {} {} ORDER BY {} LIMIT 1)",
                expression(&field)?,
                list.rows,
                list.first
            )
        }
    })
}

/// Adds what is left of `WHERE` after the row that a token names, and `ORDER BY`.
pub(crate) fn push_order<F: Fields>(
    sql: &mut Sql,
    order: Option<&Order>,
    fields: &F,
    after: Option<&PageToken>,
) -> Result<(), Error> {
    let id = F::ID;
    let Some(order) = order else {
        if let Some(after) = after {
            sql.push(&format!(" AND {id} > ?"));
            sql.push_bind::<SqlUuid, _>(after.id);
        }
        sql.push(&format!(" ORDER BY {id}"));
        return Ok(());
    };
    let key = sort_key(order, fields)?;
    if let Some(after) = after {
        match (&after.key, order.descending) {
            (Some(last), descending) => {
                let beyond = if descending { "<" } else { ">" };
                sql.push(&format!(" AND ({key} COLLATE \"C\" {beyond} ?"));
                sql.push_bind::<Text, _>(last.clone());
                sql.push(&format!(" OR ({key} = ?"));
                sql.push_bind::<Text, _>(last.clone());
                sql.push(&format!(" AND {id} > ?)"));
                sql.push_bind::<SqlUuid, _>(after.id);
                // What has no value comes last, so ascending it is still to come.
                sql.push(if descending { ")" } else { " OR " });
                if !descending {
                    sql.push(&format!("{key} IS NULL)"));
                }
            }
            (None, descending) => {
                sql.push(&format!(" AND (({key} IS NULL AND {id} > ?)"));
                sql.push_bind::<SqlUuid, _>(after.id);
                sql.push(&if descending {
                    format!(" OR {key} IS NOT NULL)")
                } else {
                    ")".to_owned()
                });
            }
        }
    }
    let direction = if order.descending {
        "DESC NULLS FIRST"
    } else {
        "ASC NULLS LAST"
    };
    sql.push(&format!(" ORDER BY {key} COLLATE \"C\" {direction}, {id}"));
    Ok(())
}
