//! Building the contract's tree: what is known already is folded away, and the size is bounded.

use identity_proto::v1::{Comparison, EntryFilter, Filter, FilterList, filter::Node};
use scim_protocol::ScimError;

/// How many conditions a filter may have; identity's own maximum.
pub(crate) const MAX_NODES: usize = 1000;

/// How many levels may stand around a condition; identity's own maximum, which is what protobuf's decoders allow.
const MAX_LEVELS: usize = 48;

fn of(node: Node) -> Filter {
    Filter { node: Some(node) }
}

/// Holds for everything.
pub(super) fn always() -> Filter {
    of(Node::All(FilterList::default()))
}

/// Holds for nothing.
pub(super) fn never() -> Filter {
    of(Node::Any(FilterList::default()))
}

fn is_always(filter: &Filter) -> bool {
    matches!(&filter.node, Some(Node::All(list)) if list.filters.is_empty())
}

fn is_never(filter: &Filter) -> bool {
    matches!(&filter.node, Some(Node::Any(list)) if list.filters.is_empty())
}

/// All of these hold.
pub(super) fn all(parts: Vec<Filter>) -> Filter {
    let mut filters = Vec::new();
    for part in parts {
        match part.node {
            Some(Node::All(list)) => filters.extend(list.filters),
            _ if is_never(&part) => return never(),
            _ => filters.push(part),
        }
    }
    match filters.len() {
        1 => filters.swap_remove(0),
        _ => of(Node::All(FilterList { filters })),
    }
}

/// One of these holds.
pub(super) fn any(parts: Vec<Filter>) -> Filter {
    let mut filters = Vec::new();
    for part in parts {
        match part.node {
            Some(Node::Any(list)) => filters.extend(list.filters),
            _ if is_always(&part) => return always(),
            _ => filters.push(part),
        }
    }
    match filters.len() {
        1 => filters.swap_remove(0),
        _ => of(Node::Any(FilterList { filters })),
    }
}

/// This does not hold.
pub(super) fn not(filter: Filter) -> Filter {
    match filter.node {
        _ if is_always(&filter) => never(),
        _ if is_never(&filter) => always(),
        Some(Node::Not(inner)) => *inner,
        node => of(Node::Not(Box::new(Filter { node }))),
    }
}

/// The field has a value.
pub(super) fn present(field: &str) -> Filter {
    of(Node::Present(field.to_owned()))
}

/// One field held against one value.
pub(super) fn comparison(comparison: Comparison) -> Filter {
    of(Node::Comparison(comparison))
}

/// One entry of the list satisfies a filter.
pub(super) fn entry(list: String, filter: Filter) -> Filter {
    if is_never(&filter) {
        return filter;
    }
    if is_always(&filter) {
        return present(&list);
    }
    of(Node::Entry(Box::new(EntryFilter {
        list,
        filter: Some(Box::new(filter)),
    })))
}

/// Refuses what identity would not take.
pub(super) fn check_size(filter: &Filter) -> Result<(), ScimError> {
    let mut nodes = 0;
    if levels(filter, &mut nodes) > MAX_LEVELS {
        return Err(ScimError::invalid_filter(format!(
            "The filter has more than {MAX_LEVELS} levels of and, or, not and [...] around a condition."
        )));
    }
    if nodes > MAX_NODES {
        return Err(ScimError::invalid_filter(format!(
            "The filter has more than {MAX_NODES} conditions, each and, or and not counted too."
        )));
    }
    Ok(())
}

/// How many nodes stand around the innermost one; counts the nodes.
fn levels(filter: &Filter, nodes: &mut usize) -> usize {
    *nodes += 1;
    match &filter.node {
        Some(Node::All(list) | Node::Any(list)) => {
            let deepest = list.filters.iter().map(|part| 1 + levels(part, nodes));
            deepest.max().unwrap_or(0)
        }
        Some(Node::Not(inner)) => 1 + levels(inner, nodes),
        Some(Node::Entry(entry)) => {
            let inner = entry.filter.as_ref();
            inner.map_or(0, |inner| 1 + levels(inner, nodes))
        }
        Some(Node::Comparison(_) | Node::Present(_)) | None => 0,
    }
}
