//! Reads the contract's tree.

use identity_proto::v1::{self as pb, comparison, filter::Node};

use super::{Comparison, Condition, Operator, Order, Value};
use crate::{error::Error, wire};

/// How many nodes may stand around one another. A node is up to two messages and a comparison three, and
/// messages that nest deeper than 100 are not even read, so no filter of this depth is lost on the way.
pub(crate) const DEPTH_MAX: usize = 48;
/// How many nodes a filter may have.
const NODES_MAX: usize = 1000;

/// Reads a filter; none holds for everything.
pub(crate) fn read(filter: Option<&pb::Filter>) -> Result<Condition, Error> {
    let mut nodes = 0;
    filter.map_or(Ok(Condition::All(Vec::new())), |filter| {
        node(filter, 0, &mut nodes)
    })
}

/// Reads an order.
pub(crate) fn read_order(order: Option<&pb::Order>) -> Option<Order> {
    order.map(|order| Order {
        field: order.field.clone(),
        descending: order.descending,
        exact: order.exact,
    })
}

fn refused(what: impl Into<String>) -> Error {
    Error::invalid("filter", what)
}

fn node(filter: &pb::Filter, depth: usize, nodes: &mut usize) -> Result<Condition, Error> {
    *nodes += 1;
    if depth > DEPTH_MAX {
        return Err(refused(format!("nests deeper than {DEPTH_MAX} levels")));
    }
    if *nodes > NODES_MAX {
        return Err(refused(format!("has more than {NODES_MAX} conditions")));
    }
    let mut list = |list: &pb::FilterList| -> Result<Vec<Condition>, Error> {
        list.filters
            .iter()
            .map(|filter| node(filter, depth + 1, nodes))
            .collect()
    };
    Ok(
        match filter
            .node
            .as_ref()
            .ok_or_else(|| refused("has an empty node"))?
        {
            Node::All(parts) => Condition::All(list(parts)?),
            Node::Any(parts) => Condition::Any(list(parts)?),
            Node::Not(inner) => Condition::Not(Box::new(node(inner, depth + 1, nodes)?)),
            Node::Present(field) => Condition::Present(field.clone()),
            Node::Entry(entry) => {
                let inner = entry
                    .filter
                    .as_ref()
                    .ok_or_else(|| refused("has an empty entry"))?;
                Condition::Entry(entry.list.clone(), Box::new(node(inner, depth + 1, nodes)?))
            }
            Node::Comparison(comparison) => Condition::Compare(compare(comparison)?),
        },
    )
}

fn compare(comparison: &pb::Comparison) -> Result<Comparison, Error> {
    let operator = match comparison.operator() {
        pb::Operator::Unspecified => return Err(refused("has a comparison without an operator")),
        pb::Operator::Equal => Operator::Equal,
        pb::Operator::NotEqual => Operator::NotEqual,
        pb::Operator::Contains => Operator::Contains,
        pb::Operator::StartsWith => Operator::StartsWith,
        pb::Operator::EndsWith => Operator::EndsWith,
        pb::Operator::Greater => Operator::Greater,
        pb::Operator::GreaterOrEqual => Operator::GreaterOrEqual,
        pb::Operator::Less => Operator::Less,
        pb::Operator::LessOrEqual => Operator::LessOrEqual,
    };
    let value = match &comparison.value {
        None => return Err(refused("has a comparison without a value")),
        // PostgreSQL can't hold a NUL, so nothing that is kept equals or contains it.
        Some(comparison::Value::Text(text)) => Value::Text(text.replace('\0', "\u{fffd}")),
        Some(comparison::Value::Flag(flag)) => Value::Flag(*flag),
        Some(comparison::Value::Moment(moment)) => Value::Moment(wire::moment(moment, "filter")?),
    };
    Ok(Comparison {
        field: comparison.field.clone(),
        operator,
        value,
        exact: comparison.exact,
        prefix: comparison.prefix.replace('\0', "\u{fffd}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn not(filter: pb::Filter) -> pb::Filter {
        pb::Filter {
            node: Some(Node::Not(Box::new(filter))),
        }
    }

    #[test]
    fn depth_and_size_are_bounded_and_say_so() {
        let present = || pb::Filter {
            node: Some(Node::Present("active".to_owned())),
        };
        let deep = |levels| (0..levels).fold(present(), |filter, _| not(filter));
        assert!(read(Some(&deep(48))).is_ok());
        assert!(
            read(Some(&deep(49)))
                .unwrap_err()
                .to_string()
                .contains("48 levels")
        );
        let wide = |count| pb::Filter {
            node: Some(Node::Any(pb::FilterList {
                filters: vec![present(); count],
            })),
        };
        assert!(read(Some(&wide(999))).is_ok());
        assert!(
            read(Some(&wide(1000)))
                .unwrap_err()
                .to_string()
                .contains("1000 conditions")
        );
    }

    #[test]
    fn an_absent_filter_holds_for_everything_and_an_empty_node_is_refused() {
        assert_eq!(read(None).unwrap(), Condition::All(vec![]));
        assert!(read(Some(&pb::Filter::default())).is_err());
        let comparison = pb::Comparison {
            field: "id".to_owned(),
            ..Default::default()
        };
        let filter = pb::Filter {
            node: Some(Node::Comparison(comparison)),
        };
        assert!(read(Some(&filter)).is_err());
    }
}
