//! Direct grants in files.

use identity_proto::v1::{
    AccessTarget, CreateGrantRequest, DirectGrant, GetGrantRequest, NamedRef, TargetKind,
    UpdateGrantRequest, access_target::Target, grant::Source,
    grant_service_client::GrantServiceClient,
};
use indicatif::ProgressBar;
use prost_types::{FieldMask, Timestamp};
use serde_json::json;

use super::{
    columns::{GRANTS, Row},
    files::Writer,
    groups::target,
    import::{Rows, Work, written},
    report::Done,
};
use crate::{
    arguments::parse_moment,
    commands::{
        grants::{Pages, Wanted},
        named::member,
    },
    connection::{Purpose, Settings},
    failure::Failure,
};

/// Writes all direct grants that hold.
pub(super) async fn export(
    settings: &Settings,
    writer: &mut Writer,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let mut pages = Pages::new(Wanted::default());
    while let Some(page) = pages.next(settings).await? {
        for given in page {
            let grant = given.grant.unwrap_or_default();
            let target = grant.target.and_then(|target| target.target);
            let (kind, name) = match target {
                Some(Target::Role(role)) => ("role", role.name),
                Some(Target::BusinessEntity(entity)) => ("business_entity", entity.name),
                None => continue,
            };
            let Some(Source::Direct(direct)) = grant.source else {
                continue;
            };
            let object = json!({
                "user_name": given.user_name,
                "target": {"kind": kind, "name": name},
                "reason": direct.reason,
                "end_time": direct.end_time.map(|time| time.to_string()),
            });
            writer.write(&Row::of_object(GRANTS, &object))?;
            bar.inc(1);
        }
    }
    Ok(())
}

/// How rows of direct grants are written.
#[derive(Debug, Default)]
pub(super) struct Grants {}

impl Rows for Grants {
    const TOGETHER: usize = 500;

    fn name(row: &Row) -> Result<String, String> {
        let parts = ["user_name", "target.kind", "target.name"].map(|path| {
            match row.text(path).map(str::trim) {
                None | Some("") => Err(format!("{path} is missing")),
                Some(text) => Ok(text.to_owned()),
            }
        });
        let [user_name, kind, name] = parts;
        Ok(format!("{} {} {}", user_name?, kind?, name?))
    }

    async fn look_up(&mut self, _work: &Work<'_>, _rows: &[&Row]) -> Result<(), Failure> {
        Ok(())
    }

    async fn write(&self, work: &Work<'_>, row: &Row) -> Result<Done, Failure> {
        let by_name = target(row)?.unwrap_or_default();
        let kind = by_name.kind();
        let named = NamedRef {
            name: by_name.name,
            ..NamedRef::default()
        };
        let target = match kind {
            TargetKind::BusinessEntity => Target::BusinessEntity(named),
            _ => Target::Role(named),
        };
        let wanted = Wanted {
            member: Some(member(
                row.text("user_name").unwrap_or_default().trim().to_owned(),
            )),
            target: Some(AccessTarget {
                target: Some(target),
            }),
            ..Wanted::default()
        };
        // Changed, or ended, since it was read.
        written(&["VERSION_MISMATCH", "GRANT_NOT_FOUND"], async || {
            write_once(work, row, &wanted).await
        })
        .await
    }
}

/// Makes the grant, or the one that is there as the row says.
async fn write_once(work: &Work<'_>, row: &Row, wanted: &Wanted) -> Result<Done, Failure> {
    if !row.has("reason") {
        // None can be made without a reason, but one that is there can be given another end.
        let mut pages = Pages::new(wanted.clone());
        let found = pages.next(work.settings).await?.unwrap_or_default();
        if let Some(existing) = found.into_iter().find(|given| given.ending.is_none()) {
            return update(work, row, existing).await;
        }
    }
    let request = CreateGrantRequest {
        site: work.settings.site(),
        member: wanted.member.clone(),
        target: wanted.target.clone(),
        reason: row.text("reason").unwrap_or_default().to_owned(),
        end_time: end(row)?,
        validate_only: work.dry_run,
        ..CreateGrantRequest::default()
    };
    let mut client = GrantServiceClient::new(work.settings.channel()?);
    let outcome = work
        .settings
        .call(Purpose::Work, &request, async |request| {
            client.create_grant(request).await
        })
        .await;
    let failure = match outcome {
        Ok(_) => return Ok(Done::Created),
        Err(failure) => failure,
    };
    // There already: by somebody else, by an earlier run, or by a call of ours whose answer was lost.
    match failure.fact("id").filter(|_| failure.is("GRANT_EXISTS")) {
        Some(id) if work.update => {
            let existing = get(work.settings, id).await?;
            update(work, row, existing).await
        }
        Some(_) => Ok(Done::Unchanged),
        None => Err(failure),
    }
}

/// Makes a grant that is there as its row says: why it was given, and until when.
async fn update(work: &Work<'_>, row: &Row, existing: DirectGrant) -> Result<Done, Failure> {
    let grant = existing.grant.unwrap_or_default();
    let (true, Some(Source::Direct(mut values))) = (work.update, grant.source) else {
        return Ok(Done::Unchanged);
    };
    let mut paths = Vec::new();
    if let Some(reason) = row.text("reason").map(str::trim)
        && reason != values.reason
    {
        reason.clone_into(&mut values.reason);
        paths.push("reason".to_owned());
    }
    if row.has("end_time") {
        let end = end(row)?;
        if end != values.end_time {
            values.end_time = end;
            paths.push("end_time".to_owned());
        }
    }
    if paths.is_empty() {
        return Ok(Done::Unchanged);
    }
    let request = UpdateGrantRequest {
        site: work.settings.site(),
        grant_id: values.grant_id.clone(),
        values: Some(values),
        update_mask: Some(FieldMask { paths }),
        if_versions: vec![existing.version],
        validate_only: work.dry_run,
        ..UpdateGrantRequest::default()
    };
    let mut client = GrantServiceClient::new(work.settings.channel()?);
    let updated = work
        .settings
        .call(Purpose::Work, &request, async |request| {
            client.update_grant(request).await
        })
        .await?;
    Ok(Done::of_update(updated.receipt.as_ref()))
}

async fn get(settings: &Settings, id: &str) -> Result<DirectGrant, Failure> {
    let request = GetGrantRequest {
        site: settings.site(),
        grant_id: id.to_owned(),
        ..GetGrantRequest::default()
    };
    let mut client = GrantServiceClient::new(settings.channel()?);
    let found = settings
        .call(Purpose::Work, &request, async |request| {
            client.get_grant(request).await
        })
        .await?;
    Ok(found.grant.unwrap_or_default())
}

/// When a row's grant ends by itself.
fn end(row: &Row) -> Result<Option<Timestamp>, Failure> {
    match row.text("end_time").map(str::trim) {
        None | Some("") => Ok(None),
        Some(text) => parse_moment(text)
            .map(Some)
            .map_err(|wrong| Failure::usage(format!("end_time: {wrong}"))),
    }
}
