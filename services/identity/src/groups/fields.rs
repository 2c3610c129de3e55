//! What groups can be found and ordered by.

use crate::filter::{Field, Fields, List};

/// The fields of groups, which are `g` in SQL.
pub(crate) struct GroupFields;

impl Fields for GroupFields {
    const ID: &'static str = "g.group_id";

    fn field(&self, name: &str) -> Option<Field> {
        Some(match name {
            "id" => Field::Id("g.group_id".to_owned()),
            "display_name" => Field::Key {
                exact: "g.display_name".to_owned(),
                key: "g.display_name_key".to_owned(),
            },
            // Compared exactly whatever is asked: it is the identity provider's own.
            "external_id" => Field::Text {
                exact: "g.external_id".to_owned(),
                folded: "g.external_id".to_owned(),
            },
            "create_time" => Field::Moment("g.created_at".to_owned()),
            "update_time" => Field::Moment("g.updated_at".to_owned()),
            "members" => Field::List(List {
                rows: "FROM group_members gm WHERE gm.site_id = g.site_id \
                       AND gm.group_id = g.group_id AND gm.to_event IS NULL"
                    .to_owned(),
                parts: vec![("id", Field::Id("gm.member_id".to_owned()))],
                first: "gm.member_id",
                indexed: None,
            }),
            _ => return None,
        })
    }
}
