//! `rosterctl grants`

use clap::Subcommand;
use identity_proto::v1::{
    AccessTarget, CreateGrantRequest, DirectGrant, DirectSource, EndGrantRequest, GetGrantRequest,
    ListGrantsRequest, MemberRef, UpdateGrantRequest, grant::Source,
    grant_service_client::GrantServiceClient,
};
use prost_types::{FieldMask, Timestamp};
use serde_json::json;

use super::{
    Outcome, answer,
    named::{TargetArgs, TargetFilter, member},
    print, print_write, request_id,
};
use crate::{
    arguments::{DryRun, parse_end},
    connection::{Purpose, Settings},
    failure::Failure,
    json, show,
};

/// Direct grants, and what can be done with them.
#[derive(Debug, Subcommand)]
pub(crate) enum Grants {
    /// List direct grants; those by groups are shown by access show and access who
    #[command(after_help = "\
Examples:
  rosterctl grants list
  rosterctl grants list --member ann@acme.example --ended
  rosterctl grants list --role Admin")]
    List {
        /// Only what this member has, by user name or id
        #[arg(long)]
        member: Option<String>,
        #[command(flatten)]
        target: TargetFilter,
        /// Only what this actor gave: the label of a credential
        #[arg(long)]
        actor: Option<String>,
        /// Those that have ended too
        #[arg(long)]
        ended: bool,
        /// How many at the most
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Show a direct grant, also one that has ended
    #[command(after_help = "\
Examples:
  rosterctl grants show 0199c1f0-7d6e-7a10-8a59-2f6a1f0c9d11")]
    Show {
        /// The grant's id
        id: String,
    },
    /// Give a member a role or a business entity, which no identity provider takes away
    #[command(after_help = "\
Examples:
  rosterctl grants create ann@acme.example --role Admin --reason 'Stands in for Bob' --until 7d
  rosterctl grants create ann@acme.example --role Admin --reason Audit \\
      --until 2026-12-31T23:59:59Z --dry-run")]
    Create {
        /// To whom, by user name or id
        member: String,
        #[command(flatten)]
        target: TargetArgs,
        /// Why, in your words
        #[arg(long)]
        reason: String,
        /// When it ends by itself: at 2026-12-31T23:59:59Z, or in 7d, 12h, 30m [default: it does not]
        #[arg(long, value_name = "TIME", value_parser = parse_end)]
        until: Option<Timestamp>,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// Change why a direct grant was given, or until when; the member has it all the time
    #[command(after_help = "\
Examples:
  rosterctl grants update 0199c1f0-7d6e-7a10-8a59-2f6a1f0c9d11 --until 2027-01-31T23:59:59Z
  rosterctl grants update 0199c1f0-7d6e-7a10-8a59-2f6a1f0c9d11 --no-end --reason 'Bob stays away' --dry-run")]
    Update {
        /// The grant's id
        id: String,
        /// Another reason, in your words
        #[arg(long)]
        reason: Option<String>,
        /// When it ends by itself, later or earlier: at 2026-12-31T23:59:59Z, or in 7d, 12h, 30m
        #[arg(long, value_name = "TIME", value_parser = parse_end)]
        until: Option<Timestamp>,
        /// Let it hold until it is taken back
        #[arg(long, conflicts_with = "until")]
        no_end: bool,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// Take a direct grant back
    #[command(after_help = "\
Examples:
  rosterctl grants end 0199c1f0-7d6e-7a10-8a59-2f6a1f0c9d11 --reason 'Bob is back'
  rosterctl grants end 0199c1f0-7d6e-7a10-8a59-2f6a1f0c9d11 --dry-run")]
    End {
        /// The grant's id
        id: String,
        /// Why, in your words [default: nothing is said]
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        dry_run: DryRun,
    },
}

/// Which grants a listing shows.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) member: Option<MemberRef>,
    pub(super) target: Option<AccessTarget>,
    pub(super) actor: Option<String>,
    pub(super) ended: bool,
}

pub(super) async fn run(settings: &Settings, command: Grants) -> Result<Outcome, Failure> {
    let mut client = GrantServiceClient::new(settings.channel()?);
    match command {
        Grants::List {
            member: whose,
            target,
            actor,
            ended,
            limit,
        } => {
            let asked = target.asked(whose.as_deref());
            let wanted = Wanted {
                member: whose.map(member),
                target: target.target(),
                actor,
                ended,
            };
            let mut pages = Pages::new(wanted);
            let mut list = Vec::new();
            while list.len() < limit as usize {
                match pages.next(settings).await {
                    Ok(Some(page)) => list.extend(page),
                    Ok(None) => break,
                    Err(failure) => return Err(asked.suggest(settings, failure).await),
                }
            }
            list.truncate(limit as usize);
            print(
                settings,
                || table(&list),
                || json!({"grants": list.iter().map(json::direct_grant).collect::<Vec<_>>()}),
            )
        }
        Grants::Show { id } => {
            let request = GetGrantRequest {
                site: settings.site(),
                grant_id: id,
                ..GetGrantRequest::default()
            };
            let request = settings.request(Purpose::Work, request)?;
            let found = answer(settings, client.get_grant(request).await)?
                .grant
                .unwrap_or_default();
            print(
                settings,
                || table(std::slice::from_ref(&found)),
                || json!({"grant": json::direct_grant(&found)}),
            )
        }
        Grants::Create {
            member: whom,
            target,
            reason,
            until,
            dry_run,
        } => {
            let asked = target.asked(&whom);
            let request = CreateGrantRequest {
                site: settings.site(),
                member: Some(member(whom.clone())),
                target: target.target(),
                reason: reason.clone(),
                end_time: until,
                validate_only: dry_run.dry_run,
                request_id: request_id(),
                ..CreateGrantRequest::default()
            };
            let given = settings
                .make(Purpose::Work, &request, async |request| {
                    client.create_grant(request).await
                })
                .await;
            let given = match given {
                Ok(given) => given,
                Err(failure) => return Err(asked.suggest(settings, failure).await),
            };
            let grant = given.grant.unwrap_or_default();
            let (kind, name, _) = show::target(grant.target.as_ref());
            let facts = show::facts([
                ("Grant", grant_id(&grant).to_owned()),
                ("To", whom),
                ("Gives", format!("{kind} {name}")),
                ("Why", reason),
                ("Until", show::end(&grant)),
            ]);
            let object = json!({"grant": json::grant(&grant)});
            print_write(
                settings,
                dry_run,
                given.receipt.as_ref(),
                Some(facts),
                object,
            )
            .await
        }
        Grants::Update {
            id,
            reason,
            until,
            no_end,
            dry_run,
        } => {
            let mut values = DirectSource::default();
            let mut paths = Vec::new();
            if let Some(reason) = reason {
                values.reason = reason;
                paths.push("reason".to_owned());
            }
            if until.is_some() || no_end {
                values.end_time = until;
                paths.push("end_time".to_owned());
            }
            if paths.is_empty() {
                return Err(Failure::usage(
                    "nothing to change: name --reason, --until or --no-end",
                ));
            }
            let request = UpdateGrantRequest {
                site: settings.site(),
                grant_id: id,
                values: Some(values),
                update_mask: Some(FieldMask { paths }),
                validate_only: dry_run.dry_run,
                ..UpdateGrantRequest::default()
            };
            let request = settings.request(Purpose::Work, request)?;
            let updated = answer(settings, client.update_grant(request).await)?;
            let grant = updated.grant.unwrap_or_default();
            print_write(
                settings,
                dry_run,
                updated.receipt.as_ref(),
                Some(table(std::slice::from_ref(&grant))),
                json!({"grant": json::direct_grant(&grant)}),
            )
            .await
        }
        Grants::End {
            id,
            reason,
            dry_run,
        } => {
            let request = EndGrantRequest {
                site: settings.site(),
                grant_id: id.clone(),
                reason: reason.unwrap_or_default(),
                validate_only: dry_run.dry_run,
                ..EndGrantRequest::default()
            };
            let request = settings.request(Purpose::Work, request)?;
            let ended = answer(settings, client.end_grant(request).await)?;
            print_write(
                settings,
                dry_run,
                ended.receipt.as_ref(),
                None,
                json!({"grant_id": id}),
            )
            .await
        }
    }
}

/// The pages of a listing.
#[derive(Debug)]
pub(super) struct Pages {
    wanted: Wanted,
    /// Asks for the next page; none after the last one.
    page_token: Option<String>,
}

impl Pages {
    pub(super) fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            page_token: Some(String::new()),
        }
    }

    /// The next page; none after the last one.
    pub(super) async fn next(
        &mut self,
        settings: &Settings,
    ) -> Result<Option<Vec<DirectGrant>>, Failure> {
        let Some(page_token) = self.page_token.take() else {
            return Ok(None);
        };
        let request = ListGrantsRequest {
            site: settings.site(),
            member: self.wanted.member.clone(),
            target: self.wanted.target.clone(),
            actor: self.wanted.actor.clone().unwrap_or_default(),
            include_ended: self.wanted.ended,
            page_size: Some(1000),
            page_token,
            ..ListGrantsRequest::default()
        };
        let mut client = GrantServiceClient::new(settings.channel()?);
        let page = settings
            .call(Purpose::Work, &request, async |request| {
                client.list_grants(request).await
            })
            .await?;
        self.page_token = Some(page.next_page_token).filter(|token| !token.is_empty());
        Ok(Some(page.grants))
    }
}

fn grant_id(grant: &identity_proto::v1::Grant) -> &str {
    match &grant.source {
        Some(Source::Direct(direct)) => &direct.grant_id,
        _ => "-",
    }
}

fn table(grants: &[DirectGrant]) -> String {
    let mut table = show::table([
        "User name",
        "Has",
        "Name",
        "By",
        "Since",
        "Until",
        "Ended",
        "Id",
    ]);
    for given in grants {
        let grant = given.grant.clone().unwrap_or_default();
        let (kind, name, _) = show::target(grant.target.as_ref());
        let ended = given.ending.as_ref().map_or_else(
            || "-".to_owned(),
            |ending| {
                let actor = ending.actor.clone().unwrap_or_default();
                let why = match ending.reason.as_str() {
                    "" => String::new(),
                    reason => format!(": {}", show::text(reason)),
                };
                format!(
                    "{}, by {}{why}",
                    show::time(ending.time.as_ref()),
                    show::text(&actor.label)
                )
            },
        );
        table.add_row([
            given.user_name.as_str(),
            kind,
            name,
            &show::source(&grant),
            &show::time(grant.since.as_ref()),
            &show::end(&grant),
            &ended,
            grant_id(&grant),
        ]);
    }
    table.to_string()
}
