//! A SQL statement with its bound values. diesel's `sql_query` is never kept prepared, which costs a
//! round trip a statement; this is, because its text alone decides what it is. Where a caller decides the text, as by
//! a filter, it is not.

use std::borrow::Cow;

use diesel::{
    IntoSql, QueryResult, RunQueryDsl,
    expression::{AsExpression, TypedExpressionType},
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{SqlType, Untyped},
};

/// What a statement can do beside reading.
const CHANGING: [&str; 3] = ["INSERT", "UPDATE", "DELETE"];

/// A statement. Its text holds a `?` for each value, in their order, and no other `?`.
pub(crate) struct Sql {
    name: &'static str,
    text: Cow<'static, str>,
    /// Whether so many texts are possible that none is worth keeping prepared.
    seldom: bool,
    binds: Vec<Box<dyn QueryFragment<Pg> + Send>>,
}

/// Begins a statement; `name` says what it is for, in spans.
pub(crate) fn sql(name: &'static str, text: impl Into<Cow<'static, str>>) -> Sql {
    Sql {
        name,
        text: text.into(),
        seldom: false,
        binds: Vec::new(),
    }
}

impl Sql {
    /// Binds the next value, as the SQL type `ST`.
    pub(crate) fn bind<ST, T>(mut self, value: T) -> Self
    where
        ST: SqlType + TypedExpressionType,
        T: AsExpression<ST>,
        T::Expression: QueryFragment<Pg> + Send + 'static,
    {
        self.push_bind::<ST, T>(value);
        self
    }

    /// Binds the next value of a statement that is put together piece by piece.
    pub(crate) fn push_bind<ST, T>(&mut self, value: T)
    where
        ST: SqlType + TypedExpressionType,
        T: AsExpression<ST>,
        T::Expression: QueryFragment<Pg> + Send + 'static,
    {
        self.binds.push(Box::new(value.into_sql::<ST>()));
    }

    /// Adds text. Never a value: those are bound.
    pub(crate) fn push(&mut self, text: &str) {
        self.text.to_mut().push_str(text);
    }

    /// Says that a caller decides how the text goes, and few are the same again: it is not kept prepared, which would
    /// fill the server's memory, a connection and a text each.
    pub(crate) fn is_seldom_the_same(&mut self) {
        self.seldom = true;
    }

    /// What the statement does: the first of its verbs that changes something, as in
    /// `WITH made AS (INSERT …) SELECT …`; without one it reads.
    pub(crate) fn operation(&self) -> &'static str {
        let mut before = "";
        for word in self.text.split([' ', '(']) {
            let changing = CHANGING.into_iter().find(|verb| *verb == word);
            // Neither a lock nor what becomes of a conflict.
            if let Some(verb) = changing
                && !matches!(before, "FOR" | "KEY" | "DO")
            {
                return verb;
            }
            before = word;
        }
        "SELECT"
    }

    /// What the statement is for.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }
}

impl QueryFragment<Pg> for Sql {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        if self.seldom {
            out.unsafe_to_cache_prepared();
        }
        let mut pieces = self.text.split('?');
        if let Some(first) = pieces.next() {
            out.push_sql(first);
        }
        for (piece, bind) in pieces.zip(&self.binds) {
            bind.walk_ast(out.reborrow())?;
            out.push_sql(piece);
        }
        Ok(())
    }
}

impl QueryId for Sql {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Sql {
    type SqlType = Untyped;
}

impl<Conn> RunQueryDsl<Conn> for Sql {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_caller_puts_together_is_not_kept_prepared() {
        let mut statement = sql("test", "SELECT 1");
        assert!(statement.is_safe_to_cache_prepared(&Pg).unwrap());
        statement.is_seldom_the_same();
        assert!(!statement.is_safe_to_cache_prepared(&Pg).unwrap());
    }

    #[test]
    fn a_statement_is_named_by_what_it_changes() {
        for (text, verb) in [
            ("SELECT 1", "SELECT"),
            ("UPDATE x SET y = (SELECT 1)", "UPDATE"),
            (
                "WITH a AS (SELECT 1), b AS (UPDATE x SET y = 2) SELECT 1",
                "UPDATE",
            ),
            (
                "WITH a AS (DELETE FROM x RETURNING *) SELECT count(*) FROM a",
                "DELETE",
            ),
            ("SELECT 1 FROM x FOR NO KEY UPDATE OF x", "SELECT"),
            (
                "INSERT INTO x SELECT 1 ON CONFLICT DO UPDATE SET y = 1",
                "INSERT",
            ),
            ("(SELECT 1) UNION ALL (SELECT 2)", "SELECT"),
        ] {
            assert_eq!(sql("test", text).operation(), verb, "{text}");
        }
    }
}
