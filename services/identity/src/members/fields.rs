//! What members can be found and ordered by. A table: name, and where it is kept.

use crate::{
    access::Extent,
    filter::{Field, Fields, List},
    site_tx::SiteTx,
    sites::UnassignedReach,
};

/// The texts of a profile, by their paths, but `display_name`, which has a key of its own.
const TEXTS: [&str; 22] = [
    "name.formatted",
    "name.family_name",
    "name.given_name",
    "name.middle_name",
    "name.honorific_prefix",
    "name.honorific_suffix",
    "nick_name",
    "profile_url",
    "title",
    "user_type",
    "preferred_language",
    "locale",
    "time_zone",
    "enterprise.employee_number",
    "enterprise.cost_center",
    "enterprise.organization",
    "enterprise.division",
    "enterprise.department",
    "enterprise.manager.value",
    "enterprise.manager.ref",
    "enterprise.manager.display_name",
    "display_name",
];

/// The lists of a profile that hold labelled values.
const LISTS: [&str; 5] = [
    "emails",
    "phone_numbers",
    "instant_messengers",
    "photos",
    "certificates",
];

/// The texts of a labelled value.
const VALUE_PARTS: [&str; 3] = ["value", "display", "type"];

/// The texts of an address.
const ADDRESS_PARTS: [&str; 7] = [
    "formatted",
    "street_address",
    "locality",
    "region",
    "postal_code",
    "country",
    "type",
];

/// The parts of a profile that have parts themselves.
const WHOLES: [&str; 3] = ["name", "enterprise", "enterprise.manager"];

/// The fields of a site's members, who are `m` in SQL.
pub(super) struct MemberFields {
    division: Option<UnassignedReach>,
    /// When a grant `d` holds.
    grant_holds: &'static str,
}

impl MemberFields {
    /// Those of the site that is read.
    pub(super) fn of(tx: &SiteTx<'_, '_>) -> Self {
        Self {
            division: tx.site.division,
            grant_holds: tx.grant_holds(),
        }
    }
}

impl Fields for MemberFields {
    const ID: &'static str = "m.member_id";

    fn field(&self, name: &str) -> Option<Field> {
        if let Some(path) = name.strip_prefix("profile.") {
            return of_profile(path);
        }
        Some(match name {
            "id" => Field::Id("m.member_id".to_owned()),
            "user_name" => Field::Key {
                exact: "m.user_name".to_owned(),
                key: "m.user_name_key".to_owned(),
            },
            // Compared exactly whatever is asked: it is the identity provider's own.
            "external_id" => Field::Text {
                exact: "m.external_id".to_owned(),
                folded: "m.external_id".to_owned(),
            },
            // As it is shown: not at all where it was removed.
            "active" => Field::Flag(
                "(CASE WHEN (m.profile #>> '{removed,active}')::boolean THEN NULL ELSE m.active END)"
                    .to_owned(),
            ),
            "create_time" => Field::Moment("m.created_at".to_owned()),
            "update_time" => Field::Moment("m.updated_at".to_owned()),
            "groups" => Field::List(groups()),
            "access.roles" => Field::List(self.targets("roles", "role_id")),
            "access.business_entities" => {
                Field::List(self.targets("business_entities", "business_entity_id"))
            }
            "entitlements.roles" => {
                let mut roles = self.entitled("roles", "role_id");
                roles
                    .parts
                    .push(("primary", Field::Flag(only_entitled_role())));
                Field::List(roles)
            }
            "entitlements.business_entities" => {
                Field::List(self.entitled("business_entities", "business_entity_id"))
            }
            "access.reach" => {
                let reach = self.reach();
                Field::Text {
                    exact: reach.clone(),
                    folded: reach,
                }
            }
            _ => return None,
        })
    }
}

fn of_profile(path: &str) -> Option<Field> {
    if path == "display_name" {
        return Some(Field::Key {
            exact: "(m.profile->>'display_name')".to_owned(),
            key: "m.display_name_key".to_owned(),
        });
    }
    // Only names from the tables above become part of a statement.
    if let Some(known) = TEXTS.iter().find(|known| **known == path) {
        let path = known.replace('.', ",");
        return Some(Field::Text {
            exact: format!("(m.profile #>> '{{{path}}}')"),
            folded: format!("(m.profile_keys #>> '{{{path}}}')"),
        });
    }
    if let Some(known) = WHOLES.iter().find(|known| **known == path) {
        return Some(Field::Whole(format!(
            "(m.profile #> '{{{}}}')",
            known.replace('.', ",")
        )));
    }
    if let Some(known) = LISTS.iter().find(|known| **known == path) {
        let indexed = (*known == "emails").then_some(("value", "m.email_keys"));
        return Some(Field::List(entries(known, &VALUE_PARTS, indexed)));
    }
    (path == "addresses").then(|| Field::List(entries("addresses", &ADDRESS_PARTS, None)))
}

/// A list of the profile: its entries in the folded copy, each with its place, at which the exact entry
/// stands in the profile.
fn entries(
    list: &str,
    texts: &[&'static str],
    indexed: Option<(&'static str, &'static str)>,
) -> List {
    let mut parts: Vec<(&'static str, Field)> = texts
        .iter()
        .map(|part| {
            let field = Field::Text {
                exact: format!("(m.profile->'{list}'->(e.n::int - 1)->>'{part}')"),
                folded: format!("(e.folded->>'{part}')"),
            };
            (*part, field)
        })
        .collect();
    parts.push((
        "primary",
        Field::Flag("((e.folded->>'primary')::boolean)".to_owned()),
    ));
    List {
        rows: format!(
            "FROM jsonb_array_elements(m.profile_keys->'{list}') WITH ORDINALITY AS e (folded, n) WHERE true"
        ),
        parts,
        first: "coalesce((e.folded->>'primary')::boolean, false) DESC, e.n",
        indexed,
    }
}

fn groups() -> List {
    List {
        rows: "FROM group_members gm JOIN groups g USING (site_id, group_id) \
               WHERE gm.site_id = m.site_id AND gm.member_id = m.member_id AND gm.to_event IS NULL"
            .to_owned(),
        parts: vec![
            ("id", Field::Id("gm.group_id".to_owned())),
            (
                "display_name",
                Field::Key {
                    exact: "g.display_name".to_owned(),
                    key: "g.display_name_key".to_owned(),
                },
            ),
        ],
        first: "g.display_name_key COLLATE \"C\"",
        indexed: None,
    }
}

/// True of a role that the attribute grants and no other beside it; else there is no value.
fn only_entitled_role() -> String {
    "(CASE WHEN NOT EXISTS (SELECT FROM grants o WHERE o.site_id = d.site_id AND o.member_id = d.member_id \
       AND o.to_event IS NULL AND o.source = 'entitlement' AND o.role_id <> d.role_id) THEN true END)"
        .to_owned()
}

impl MemberFields {
    /// The roles or business entities that an active member's grants give.
    fn targets(&self, table: &str, id: &str) -> List {
        let grant_holds = self.grant_holds;
        List {
            rows: format!(
                "FROM (SELECT g.{id} FROM group_members gm JOIN groups g USING (site_id, group_id) \
                        WHERE gm.site_id = m.site_id AND gm.member_id = m.member_id AND gm.to_event IS NULL \
                       UNION SELECT d.{id} FROM grants d \
                        WHERE d.site_id = m.site_id AND d.member_id = m.member_id AND {grant_holds}) h \
                 JOIN {table} t ON t.site_id = m.site_id AND t.{id} = h.{id} WHERE m.active"
            ),
            parts: vec![
                ("id", Field::Id(format!("t.{id}"))),
                (
                    "name",
                    Field::Key {
                        exact: "t.name".to_owned(),
                        key: "t.name_key".to_owned(),
                    },
                ),
            ],
            first: "t.name_key COLLATE \"C\"",
            indexed: None,
        }
    }

    /// The roles or business entities that the member's entitlement attribute grants.
    fn entitled(&self, table: &str, id: &str) -> List {
        List {
            rows: format!(
                "FROM grants d JOIN {table} t USING (site_id, {id}) \
                 WHERE d.site_id = m.site_id AND d.member_id = m.member_id AND d.to_event IS NULL \
                   AND d.source = 'entitlement'"
            ),
            ..self.targets(table, id)
        }
    }

    /// How far the roles reach.
    fn reach(&self) -> String {
        let extent =
            |is_chief, has_entity| Extent::of(self.division, is_chief, has_entity).as_str();
        if self.division.is_none() {
            let all = extent(false, false);
            return format!("(CASE WHEN m.active THEN '{all}' ELSE 'none' END)");
        }
        let roles = self.targets("roles", "role_id").rows;
        let entities = self.targets("business_entities", "business_entity_id").rows;
        format!(
            "(CASE WHEN NOT m.active THEN 'none' \
              WHEN EXISTS (SELECT {roles} AND t.built_in IN ('owner', 'admin')) THEN '{}' \
              WHEN EXISTS (SELECT {entities}) THEN '{}' ELSE '{}' END)",
            extent(true, false),
            extent(false, true),
            extent(false, false),
        )
    }
}
