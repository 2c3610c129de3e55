//! Groups in files.

use std::collections::HashMap;

use group_convention::Naming;
use identity_proto::v1::{
    CreateGroupRequest, ExactMembership, GetGroupRequest, Group, TargetByName, TargetKind,
    UpdateGroupRequest, access_target::Target, group_service_client::GroupServiceClient,
    update_group_request::Membership,
};
use indicatif::ProgressBar;
use roster_folding::key;
use serde_json::json;

use super::{
    columns::{GROUPS, Row},
    files::Writer,
    import::{Rows, Work, written},
    members,
    report::Done,
};
use crate::{
    commands::{
        groups,
        named::{find_group, members_by_user_name},
    },
    connection::{Purpose, Settings},
    failure::Failure,
    show,
};

/// Writes all groups, with the user names of their members.
pub(super) async fn export(
    settings: &Settings,
    writer: &mut Writer,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let mut user_names = HashMap::new();
    members::each(settings, |member| {
        user_names.insert(member.id, member.user_name);
        Ok(())
    })
    .await?;
    for group in groups::list(settings, None, usize::MAX).await? {
        let group = groups::with_members(settings, group.id).await?;
        // Whoever became a member since the members were read is in the next export.
        let ids = group.member_ids.iter();
        let mut members: Vec<&String> = ids.filter_map(|id| user_names.get(id)).collect();
        members.sort();
        let (kind, name) = target_words(&group);
        let object = json!({
            "display_name": group.display_name,
            "external_id": group.external_id,
            "target": {"kind": kind, "name": name},
            "members": members,
        });
        writer.write(&Row::of_object(GROUPS, &object))?;
        bar.inc(1);
    }
    Ok(())
}

/// The kind and name of a group's target, as files have them.
fn target_words(group: &Group) -> (&'static str, &str) {
    match group
        .target
        .as_ref()
        .and_then(|target| target.target.as_ref())
    {
        Some(Target::Role(role)) => ("role", &role.name),
        Some(Target::BusinessEntity(entity)) => ("business_entity", &entity.name),
        None => ("", ""),
    }
}

/// The target of a row; none where the file has no such column.
pub(super) fn target(row: &Row) -> Result<Option<TargetByName>, Failure> {
    let Some(kind) = row.text("target.kind") else {
        return Ok(None);
    };
    let kind = match kind.trim() {
        "role" => TargetKind::Role,
        "business_entity" => TargetKind::BusinessEntity,
        "" => TargetKind::None,
        other => {
            return Err(Failure::usage(format!(
                "target.kind must be role, business_entity or empty, and is {other:?}"
            )));
        }
    };
    let name = row.text("target.name").unwrap_or_default().to_owned();
    Ok(Some(groups::target(kind, name)))
}

/// How rows of groups are written.
#[derive(Debug)]
pub(super) struct Groups {
    prefix: String,
    /// A name with another site's domain is taken with this site's.
    replace_domain: bool,
    /// The ids of the site's members who were named so far, by the key of their user name.
    ids: HashMap<String, String>,
}

impl Groups {
    pub(super) fn new(prefix: String, replace_domain: bool) -> Self {
        Self {
            prefix,
            replace_domain,
            ids: HashMap::new(),
        }
    }

    /// The ids of a row's members; none where the file does not say who they are.
    fn member_ids(&self, row: &Row) -> Result<Option<Vec<String>>, Failure> {
        let Some(names) = row.texts("members") else {
            return Ok(None);
        };
        let unknown: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| !self.ids.contains_key(&key(name)))
            .collect();
        if unknown.is_empty() {
            let ids = names.iter().filter_map(|name| self.ids.get(&key(name)));
            return Ok(Some(ids.cloned().collect()));
        }
        let (shown, more) = unknown.split_at(unknown.len().min(10));
        let more = match more.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Err(Failure::not_found(format!(
            "no members of the site: {}{more}; import the members first",
            shown.join(", ")
        )))
    }

    /// Makes a group that is there as its row says.
    async fn update(
        &self,
        work: &Work<'_>,
        row: &Row,
        id: &str,
        target: &TargetByName,
        member_ids: Option<Vec<String>>,
    ) -> Result<Done, Failure> {
        if !work.update {
            return Ok(Done::Unchanged);
        }
        written(&["VERSION_MISMATCH"], async || {
            update_once(work, row, id, target, member_ids.clone()).await
        })
        .await
    }
}

async fn update_once(
    work: &Work<'_>,
    row: &Row,
    id: &str,
    target: &TargetByName,
    member_ids: Option<Vec<String>>,
) -> Result<Done, Failure> {
    // A group keeps its target as long as it keeps its name. One that gives something else gets none of the row's
    // members: so it is looked at before the write, and the write is for the group as it was then.
    let if_versions = match row.has("target.kind") {
        true => vec![version_giving(work.settings, row, id, target).await?],
        false => Vec::new(),
    };
    let request = UpdateGroupRequest {
        site: work.settings.site(),
        group_id: id.to_owned(),
        external_id: row.text("external_id").map(str::to_owned),
        membership: member_ids
            .map(|member_ids| Membership::Exactly(ExactMembership { member_ids })),
        without_members: true,
        if_versions,
        validate_only: work.dry_run,
        ..UpdateGroupRequest::default()
    };
    let mut client = GroupServiceClient::new(work.settings.channel()?);
    let updated = work
        .settings
        .call(Purpose::Work, &request, async |request| {
            client.update_group(request).await
        })
        .await?;
    Ok(Done::of_update(updated.receipt.as_ref()))
}

/// The version of a group that gives what its row says; an error where it gives something else.
async fn version_giving(
    settings: &Settings,
    row: &Row,
    id: &str,
    target: &TargetByName,
) -> Result<i64, Failure> {
    let request = GetGroupRequest {
        site: settings.site(),
        group_id: id.to_owned(),
        without_members: true,
        ..GetGroupRequest::default()
    };
    let mut client = GroupServiceClient::new(settings.channel()?);
    let found = settings
        .call(Purpose::Work, &request, async |request| {
            client.get_group(request).await
        })
        .await?;
    let group = found.group.unwrap_or_default();
    let (kind, name) = target_words(&group);
    let is_kind = kind == row.text("target.kind").unwrap_or_default().trim();
    if is_kind && key(name) == key(&target.name) {
        return Ok(group.version);
    }
    let gives = match &group.target {
        Some(target) => {
            let (kind, name, _) = show::target(Some(target));
            format!("the {kind} {name:?}")
        }
        None => "nothing".to_owned(),
    };
    Err(Failure::usage(format!(
        "the site has this group, and it gives {gives}; only renaming it changes that"
    )))
}

impl Rows for Groups {
    // Each may name thousands of members.
    const TOGETHER: usize = 32;

    fn name(row: &Row) -> Result<String, String> {
        match row.text("display_name") {
            None | Some("") => Err("display_name is missing".to_owned()),
            Some(name) => Ok(name.to_owned()),
        }
    }

    async fn look_up(&mut self, work: &Work<'_>, rows: &[&Row]) -> Result<(), Failure> {
        let mut names: Vec<&str> = rows
            .iter()
            .filter_map(|row| row.texts("members"))
            .flatten()
            .collect();
        names.retain(|name| !self.ids.contains_key(&key(name)));
        names.sort_unstable();
        names.dedup();
        let found = members_by_user_name(work.settings, &names).await?;
        self.ids
            .extend(found.into_iter().map(|(name, member)| (name, member.id)));
        Ok(())
    }

    async fn write(&self, work: &Work<'_>, row: &Row) -> Result<Done, Failure> {
        let naming = Naming {
            prefix: &self.prefix,
            display_name: row.text("display_name").unwrap_or_default(),
        };
        let failure = match self.write_named(work, row, &naming).await {
            Err(failure) if failure.is("TARGET_OF_ANOTHER_SITE") => failure,
            outcome => return outcome.map_err(|failure| expected_of(failure, row, &naming)),
        };
        // One that is there by this very name keeps it, as with a push by an identity provider.
        match find_group(work.settings, naming.display_name).await {
            Ok(there) => {
                let target = target(row)?.unwrap_or_else(|| naming.target());
                let member_ids = self.member_ids(row)?;
                return self.update(work, row, &there.id, &target, member_ids).await;
            }
            Err(other) if !other.is_refusal() => return Err(other),
            Err(_) => {}
        }
        let domain = failure.fact("site_domain").unwrap_or_default();
        match groups::of_site(&naming, domain).filter(|_| self.replace_domain) {
            Some(name) => {
                let naming = Naming {
                    display_name: &name,
                    ..naming
                };
                let written = self.write_named(work, row, &naming).await;
                written.map_err(|failure| expected_of(failure, row, &naming))
            }
            None => Err(groups::expected(failure, &naming)
                .beside("--replace-domain takes such names with this site's domain")),
        }
    }
}

/// A refusal with the name that was expected, where what the row gives follows from its name.
fn expected_of(failure: Failure, row: &Row, naming: &Naming<'_>) -> Failure {
    match row.has("target.kind") {
        true => failure,
        false => groups::expected(failure, naming),
    }
}

impl Groups {
    /// Writes a row under this name.
    async fn write_named(
        &self,
        work: &Work<'_>,
        row: &Row,
        naming: &Naming<'_>,
    ) -> Result<Done, Failure> {
        let display_name = naming.display_name;
        let member_ids = self.member_ids(row)?;
        let by_name = naming.target();
        let target = match target(row)? {
            // The file says what the group gives, but a name says of which site it is.
            Some(target) => TargetByName {
                site_domain: by_name.site_domain,
                ..target
            },
            None => by_name,
        };
        let request = CreateGroupRequest {
            site: work.settings.site(),
            display_name: display_name.to_owned(),
            target: Some(target.clone()),
            external_id: row.text("external_id").unwrap_or_default().to_owned(),
            member_ids: member_ids.clone().unwrap_or_default(),
            validate_only: work.dry_run,
            ..CreateGroupRequest::default()
        };
        let mut client = GroupServiceClient::new(work.settings.channel()?)
            .max_decoding_message_size(crate::commands::LARGEST_ANSWER);
        let outcome = work
            .settings
            .call(Purpose::Work, &request, async |request| {
                client.create_group(request).await
            })
            .await;
        let failure = match outcome {
            Ok(_) => return Ok(Done::Created),
            Err(failure) => failure,
        };
        // There already, by its name or by its target.
        let same_name = failure
            .fact("display_name")
            .is_some_and(|name| key(name) == key(display_name));
        match failure.fact("id") {
            Some(id) if same_name => self.update(work, row, id, &target, member_ids).await,
            _ => Err(failure),
        }
    }
}
