//! What a list was asked for, and how a page of it is read: the same for every resource.

use diesel::sql_types::BigInt;
use identity_proto::v1 as pb;
use uuid::Uuid;

use super::{
    Condition, Fields, Order, Page, PageToken, digest, push_condition, push_order, read,
    read_order, sort_key,
};
use crate::{db::Sql, error::Error, wire};

/// Which rows a list shows, in which order, and which part of them.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    condition: Condition,
    order: Option<Order>,
    limit: i64,
    page: Page,
    /// What a page token is bound to, besides the site.
    digest: String,
    /// Whether its SQL has one of more shapes than are worth keeping.
    seldom: bool,
}

/// The parts of a request by which a list is asked for.
pub(crate) struct Asked<'a> {
    /// What is listed: a page token is good for no other list.
    pub(crate) list: &'static str,
    pub(crate) filter: Option<&'a pb::Filter>,
    pub(crate) order: Option<&'a pb::Order>,
    pub(crate) page_size: Option<i32>,
    /// How many rows a page has where `page_size` does not say.
    pub(crate) default_size: i64,
    pub(crate) skip: i64,
    pub(crate) page_token: &'a str,
}

impl Query {
    pub(crate) fn read(asked: &Asked<'_>) -> Result<Self, Error> {
        let condition = read(asked.filter)?;
        let order = read_order(asked.order);
        Ok(Self {
            seldom: !condition.is_plain() || (order.is_some() && !condition.is_empty()),
            condition,
            order,
            limit: wire::page_size(asked.page_size, 0, asked.default_size)?,
            page: wire::page(asked.skip, asked.page_token)?,
            digest: digest(asked.list, asked.filter, asked.order),
        })
    }

    /// Ordered by this field where the request names none, instead of by the id.
    pub(crate) fn by_default(mut self, field: &str, descending: bool) -> Self {
        self.order.get_or_insert_with(|| Order {
            field: field.to_owned(),
            descending,
            exact: false,
        });
        self
    }

    /// What rows are ordered by, as an expression of ours; a row is read with it, for the page token.
    pub(crate) fn sort_key(&self, fields: &impl Fields) -> Result<String, Error> {
        match &self.order {
            Some(order) => sort_key(order, fields),
            None => Ok("NULL::text".to_owned()),
        }
    }

    /// Adds the condition to a `WHERE`.
    pub(crate) fn push_condition(&self, sql: &mut Sql, fields: &impl Fields) -> Result<(), Error> {
        if self.seldom {
            sql.is_seldom_the_same();
        }
        sql.push(" AND ");
        push_condition(sql, &self.condition, fields)
    }

    /// Adds the condition, the order and the bounds of the page to a `WHERE`.
    pub(crate) fn push_page(
        &self,
        sql: &mut Sql,
        fields: &impl Fields,
        rows: &Rows,
    ) -> Result<(), Error> {
        self.push_condition(sql, fields)?;
        push_order(sql, self.order.as_ref(), fields, rows.after.as_ref())?;
        sql.push(" LIMIT ? OFFSET ?");
        sql.push_bind::<BigInt, _>(rows.limit);
        sql.push_bind::<BigInt, _>(self.page.skip());
        Ok(())
    }

    /// Adds the order alone, for rows that were cut from the list already.
    pub(crate) fn push_order_again(
        &self,
        sql: &mut Sql,
        fields: &impl Fields,
    ) -> Result<(), Error> {
        push_order(sql, self.order.as_ref(), fields, None)
    }

    /// Reads a page. `list` reads rows with what they are ordered by, `count` tells how many there are in
    /// all; `site` is the zero UUID for what belongs to no site.
    pub(crate) fn page<X, R>(
        &self,
        tx: &mut X,
        site: Uuid,
        id: impl Fn(&R) -> Uuid,
        list: impl FnOnce(&mut X, &Rows) -> Result<Vec<(R, Option<String>)>, Error>,
        count: impl FnOnce(&mut X) -> Result<i64, Error>,
    ) -> Result<Listed<R>, Error> {
        let bound_to = self.page.bound_to(site, &self.digest);
        let rows = Rows {
            after: self.page.after(&bound_to)?,
            // One more than is shown tells whether there is more.
            limit: self.limit + 1,
        };
        let found = match self.limit {
            0 => Vec::new(),
            _ => list(tx, &rows)?,
        };
        let (found, next) = self.page.cut(found, self.limit, |(row, key)| {
            PageToken::new(bound_to.clone(), key.clone(), id(row))
        });
        let total = match self
            .page
            .known_total(found.len(), next.is_some(), self.limit)
        {
            Some(total) => total,
            None => count(tx)?,
        };
        Ok(Listed {
            rows: found.into_iter().map(|(row, _)| row).collect(),
            total,
            next: next.map(|token| token.encode()).unwrap_or_default(),
        })
    }
}

/// The rows to read for a page.
pub(crate) struct Rows {
    after: Option<PageToken>,
    limit: i64,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub(crate) struct Listed<R> {
    pub(crate) rows: Vec<R>,
    /// How many match in all.
    pub(crate) total: i64,
    /// Asks for the next page; empty on the last one.
    pub(crate) next: String,
}
