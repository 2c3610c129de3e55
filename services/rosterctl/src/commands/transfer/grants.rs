//! Direct grants in files.

use identity_proto::v1::{
    AccessTarget, CreateGrantRequest, NamedRef, TargetKind, access_target::Target, grant::Source,
    grant_service_client::GrantServiceClient,
};
use indicatif::ProgressBar;
use prost_types::Timestamp;
use serde_json::json;

use super::{
    columns::{GRANTS, Row},
    files::Writer,
    groups::target,
    import::{Rows, Work},
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
        let request = CreateGrantRequest {
            site: work.settings.site(),
            member: Some(member(
                row.text("user_name").unwrap_or_default().trim().to_owned(),
            )),
            target: Some(AccessTarget {
                target: Some(target),
            }),
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
        match outcome {
            Ok(_) => Ok(Done::Created),
            Err(failure) if failure.is("GRANT_EXISTS") => Ok(Done::Unchanged),
            Err(failure) => Err(failure),
        }
    }
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
