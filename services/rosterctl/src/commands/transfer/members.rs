//! Members in files.

use std::collections::HashMap;

use identity_proto::v1::{
    CreateMemberRequest, Entitlements, ListMembersRequest, Member, MemberProfile, NamedRef,
    UpdateMemberRequest, member_service_client::MemberServiceClient,
};
use indicatif::ProgressBar;
use prost_types::FieldMask;
use roster_folding::key;
use serde_json::json;
use tonic::transport::Channel;

use super::{
    columns::{MEMBERS, Row, set},
    files::Writer,
    import::{Rows, Work, written},
    report::Done,
};
use crate::{
    commands::named::{self, LOOKED_UP, members_by_user_name},
    connection::{Purpose, Settings},
    failure::Failure,
};

const PROFILE: &str = "profile.";
const ROLES: &str = "entitlements.roles";
const ENTITIES: &str = "entitlements.business_entities";

/// Why a write is refused where a member is not as it was when it was looked for. Not one that was deleted since: who has
/// left must not come back because a file is read at that moment.
const MEANWHILE: [&str; 2] = ["USER_NAME_TAKEN", "VERSION_MISMATCH"];

/// Writes all members.
pub(super) async fn export(
    settings: &Settings,
    writer: &mut Writer,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    each(settings, |member| {
        bar.inc(1);
        writer.write(&row_of(&member))
    })
    .await
}

/// Reads all members, a page after the other.
pub(super) async fn each(
    settings: &Settings,
    mut take: impl FnMut(Member) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut client = MemberServiceClient::new(settings.channel()?)
        .max_decoding_message_size(crate::commands::LARGEST_ANSWER);
    let mut page_token = String::new();
    loop {
        let request = ListMembersRequest {
            site: settings.site(),
            page_size: Some(500),
            page_token,
            ..ListMembersRequest::default()
        };
        let page = settings
            .call(Purpose::Work, &request, async |request| {
                client.list_members(request).await
            })
            .await?;
        page.members.into_iter().try_for_each(&mut take)?;
        if page.next_page_token.is_empty() {
            return Ok(());
        }
        page_token = page.next_page_token;
    }
}

/// All that a file says of a member.
fn row_of(member: &Member) -> Row {
    let entitlements = member.entitlements.clone().unwrap_or_default();
    let names = |list: &[NamedRef]| {
        list.iter()
            .map(|named| named.name.clone())
            .collect::<Vec<_>>()
    };
    let object = json!({
        "user_name": member.user_name,
        "external_id": member.external_id,
        "active": member.active,
        "profile": member.profile,
        "entitlements": {
            "roles": names(&entitlements.roles),
            "business_entities": names(&entitlements.business_entities),
        },
    });
    Row::of_object(MEMBERS, &object)
}

/// How rows of members are written.
#[derive(Debug)]
pub(super) struct Members {
    client: MemberServiceClient<Channel>,
    /// The ids of the site's roles and business entities, by the key of their name; read with the first rows
    /// that name any.
    known: Option<Known>,
    /// The members of these rows that are there already, by the key of their user name.
    existing: HashMap<String, Member>,
}

#[derive(Debug)]
struct Known {
    roles: HashMap<String, String>,
    entities: HashMap<String, String>,
}

impl Members {
    pub(super) fn new(settings: &Settings) -> Result<Self, Failure> {
        Ok(Self {
            client: MemberServiceClient::new(settings.channel()?),
            known: None,
            existing: HashMap::new(),
        })
    }

    /// The member that a row asks for, made from the one that is there.
    fn asked_for(&self, row: &Row, existing: &Member) -> Result<Member, Failure> {
        let mut member = existing.clone();
        if let Some(user_name) = row.text("user_name") {
            user_name.trim().clone_into(&mut member.user_name);
        }
        if let Some(external_id) = row.text("external_id") {
            external_id.clone_into(&mut member.external_id);
        }
        if let Some(active) = row.flag("active") {
            member.active = active;
        }
        let mut profile = json!(existing.profile.clone().unwrap_or_default());
        for (path, value) in row.below(PROFILE) {
            set(&mut profile, &path[PROFILE.len()..], value.clone());
        }
        let profile: MemberProfile = serde_json::from_value(profile)
            .map_err(|error| Failure::usage(format!("the profile is not one: {error}")))?;
        member.profile = Some(plain(profile));
        let mut entitlements = member.entitlements.take().unwrap_or_default();
        let known = self.known.as_ref();
        if let Some(names) = row.texts(ROLES) {
            entitlements.roles = ids("role", &names, known.map(|known| &known.roles))?;
        }
        if let Some(names) = row.texts(ENTITIES) {
            let entities = known.map(|known| &known.entities);
            entitlements.business_entities = ids("business entity", &names, entities)?;
        }
        member.entitlements = Some(entitlements);
        Ok(member)
    }

    async fn create(&self, work: &Work<'_>, row: &Row) -> Result<Done, Failure> {
        let blank = Member {
            active: true,
            ..Member::default()
        };
        let request = CreateMemberRequest {
            site: work.settings.site(),
            member: Some(self.asked_for(row, &blank)?),
            validate_only: work.dry_run,
            ..CreateMemberRequest::default()
        };
        let mut client = self.client.clone();
        work.settings
            .call(Purpose::Work, &request, async |request| {
                client.create_member(request).await
            })
            .await?;
        Ok(Done::Created)
    }

    async fn update(&self, work: &Work<'_>, row: &Row, existing: &Member) -> Result<Done, Failure> {
        if !work.update {
            return Ok(Done::Unchanged);
        }
        let values = self.asked_for(row, existing)?;
        let mask = changed(existing, &values);
        if mask.is_empty() {
            return Ok(Done::Unchanged);
        }
        let request = UpdateMemberRequest {
            site: work.settings.site(),
            member_id: existing.id.clone(),
            values: Some(values),
            update_mask: Some(FieldMask {
                paths: mask.into_iter().map(str::to_owned).collect(),
            }),
            // The profile is written as a whole, made from the one that was read.
            if_versions: vec![existing.version],
            validate_only: work.dry_run,
            ..UpdateMemberRequest::default()
        };
        let mut client = self.client.clone();
        let updated = work
            .settings
            .call(Purpose::Work, &request, async |request| {
                client.update_member(request).await
            })
            .await?;
        Ok(Done::of_update(updated.receipt.as_ref()))
    }
}

impl Rows for Members {
    const TOGETHER: usize = LOOKED_UP;

    fn name(row: &Row) -> Result<String, String> {
        match row.text("user_name").map(str::trim) {
            None | Some("") => Err("user_name is missing".to_owned()),
            Some(name) => Ok(name.to_owned()),
        }
    }

    async fn look_up(&mut self, work: &Work<'_>, rows: &[&Row]) -> Result<(), Failure> {
        let names = |row: &&Row| row.has(ROLES) || row.has(ENTITIES);
        if self.known.is_none() && rows.iter().any(names) {
            let roles = named::roles(work.settings).await?;
            let entities = named::entities(work.settings).await?;
            self.known = Some(Known {
                roles: roles
                    .into_iter()
                    .map(|role| (key(&role.name), role.id))
                    .collect(),
                entities: entities
                    .into_iter()
                    .map(|entity| (key(&entity.name), entity.id))
                    .collect(),
            });
        }
        let user_names: Vec<&str> = rows
            .iter()
            .filter_map(|row| row.text("user_name"))
            .collect();
        self.existing = members_by_user_name(work.settings, &user_names).await?;
        Ok(())
    }

    async fn write(&self, work: &Work<'_>, row: &Row) -> Result<Done, Failure> {
        let user_name = row.text("user_name").unwrap_or_default();
        let mut looked_up = Some(self.existing.get(&key(user_name)).cloned());
        written(&MEANWHILE, async || {
            let existing = match looked_up.take() {
                Some(existing) => existing,
                None => members_by_user_name(work.settings, &[user_name])
                    .await?
                    .remove(&key(user_name)),
            };
            match &existing {
                Some(existing) => self.update(work, row, existing).await,
                None => self.create(work, row).await,
            }
        })
        .await
    }
}

/// The fields in which one member differs from another.
fn changed(existing: &Member, values: &Member) -> Vec<&'static str> {
    let ids = |member: &Member, of: fn(Entitlements) -> Vec<NamedRef>| {
        let list = of(member.entitlements.clone().unwrap_or_default());
        let mut ids: Vec<String> = list.into_iter().map(|named| named.id).collect();
        ids.sort();
        ids
    };
    let differ = |of| ids(existing, of) != ids(values, of);
    let fields = [
        ("user_name", existing.user_name != values.user_name),
        ("external_id", existing.external_id != values.external_id),
        ("active", existing.active != values.active),
        (
            "profile",
            existing.profile.clone().map(plain) != values.profile,
        ),
        (ROLES, differ(|entitlements| entitlements.roles)),
        (
            ENTITIES,
            differ(|entitlements| entitlements.business_entities),
        ),
    ];
    let changed = fields.into_iter().filter(|(_, differs)| *differs);
    changed.map(|(path, _)| path).collect()
}

/// A profile in which nothing empty is there, so that two that say the same are the same.
fn plain(mut profile: MemberProfile) -> MemberProfile {
    profile.name = profile.name.filter(|name| *name != Default::default());
    if let Some(enterprise) = &mut profile.enterprise {
        enterprise.manager = enterprise
            .manager
            .take()
            .filter(|manager| *manager != Default::default());
    }
    profile.enterprise = profile
        .enterprise
        .filter(|enterprise| *enterprise != Default::default());
    profile
}

fn ids(
    kind: &str,
    names: &[&str],
    known: Option<&HashMap<String, String>>,
) -> Result<Vec<NamedRef>, Failure> {
    let id = |name: &&str| match known.and_then(|known| known.get(&key(name))) {
        Some(id) => Ok(NamedRef {
            id: id.clone(),
            ..NamedRef::default()
        }),
        None => Err(Failure::not_found(format!(
            "the site has no {kind} {name:?}"
        ))),
    };
    names.iter().map(id).collect()
}

#[cfg(test)]
mod tests {
    use identity_proto::v1::{Enterprise, Manager, PersonName};
    use serde_json::Value;

    use super::*;

    fn importer() -> Members {
        let channel = tonic::transport::Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
        Members {
            client: MemberServiceClient::new(channel),
            known: Some(Known {
                roles: HashMap::from([("analyst".to_owned(), "r1".to_owned())]),
                entities: HashMap::new(),
            }),
            existing: HashMap::new(),
        }
    }

    fn row(object: &Value) -> Row {
        Row::of_line(MEMBERS, object.as_object().unwrap()).unwrap()
    }

    fn ann() -> Member {
        let name = PersonName {
            given_name: "Ann".to_owned(),
            family_name: "Analyst".to_owned(),
            ..PersonName::default()
        };
        let profile = MemberProfile {
            name: Some(name),
            title: "Head".to_owned(),
            enterprise: Some(Enterprise {
                manager: Some(Manager::default()),
                ..Enterprise::default()
            }),
            ..MemberProfile::default()
        };
        Member {
            user_name: "ann@x".to_owned(),
            active: true,
            profile: Some(profile),
            ..Member::default()
        }
    }

    #[tokio::test]
    async fn what_a_file_does_not_say_stays() {
        let importer = importer();
        let asked = importer.asked_for(
            &row(&json!({"user_name": "ann@x", "profile": {"name": {"given_name": "Anna"}}})),
            &ann(),
        );
        let asked = asked.unwrap();
        let profile = asked.profile.clone().unwrap();
        assert_eq!(profile.name.unwrap().given_name, "Anna");
        assert_eq!(profile.title, "Head");
        assert_eq!(changed(&ann(), &asked), ["profile"]);
    }

    #[tokio::test]
    async fn what_was_exported_changes_nothing() {
        let importer = importer();
        let member = ann();
        let asked = importer.asked_for(&row_of(&member), &member).unwrap();
        assert_eq!(changed(&member, &asked), Vec::<&str>::new());
    }

    #[tokio::test]
    async fn an_entitlement_is_named_and_an_unknown_one_refused() {
        let importer = importer();
        let asked = |names: Value| {
            let row = row(&json!({"user_name": "ann@x", "entitlements": {"roles": names}}));
            importer.asked_for(&row, &ann())
        };
        assert_eq!(
            changed(&ann(), &asked(json!(["ANALYST"])).unwrap()),
            [ROLES]
        );
        assert!(asked(json!(["Analist"])).unwrap_err().is_refusal());
    }
}
