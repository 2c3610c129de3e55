//! `rosterctl sites`

use clap::{Subcommand, ValueEnum};
use identity_proto::v1::{
    CreateSiteRequest, DivideSiteRequest, GetSiteRequest, ListSitesRequest, NewOwner,
    OutsideGroups, Reach, Site, UpdateSiteRequest, site_service_client::SiteServiceClient,
};
use prost_types::FieldMask;
use serde_json::{Value, json};

use super::{Outcome, answer, print, print_write, request_id};
use crate::{
    arguments::DryRun,
    connection::{Purpose, Settings},
    failure::Failure,
    json, show,
};

/// Sites, and what can be done with them.
#[derive(Debug, Subcommand)]
pub(crate) enum Sites {
    /// Make a site, with its first Owner and the built-in roles
    #[command(after_help = "\
Examples:
  rosterctl sites create acme --owner-email olivia@acme.example \\
      --given-name Olivia --family-name Owner")]
    Create {
        /// The site's domain: a DNS label, such as acme
        domain: String,
        /// The e-mail address that the Owner signs in by
        #[arg(long)]
        owner_email: String,
        /// The Owner's given name
        #[arg(long)]
        given_name: String,
        /// The Owner's family name
        #[arg(long)]
        family_name: String,
        /// What happens to groups whose name names no role and no business entity
        #[arg(long, value_enum, default_value_t = Outsiders::Refuse)]
        outside_groups: Outsiders,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// List all sites, by domain; takes a token of all sites
    #[command(after_help = "\
Examples:
  rosterctl sites list
  rosterctl --output json sites list | jq -r '.sites[].domain'")]
    List,
    /// Show a site and its settings
    #[command(after_help = "\
Examples:
  rosterctl --site acme sites show")]
    Show,
    /// Change a site's settings; those that are not named stay as they are
    #[command(after_help = "\
Examples:
  rosterctl --site acme sites update --outside-groups keep
  rosterctl --site acme sites update --unassigned-reach none --dry-run")]
    Update {
        /// What happens to groups whose name names no role and no business entity
        #[arg(long, value_enum)]
        outside_groups: Option<Outsiders>,
        /// On a divided site: what members without a business entity reach
        #[arg(long, value_enum)]
        unassigned_reach: Option<UnassignedReach>,
        /// How many custom roles the site may have
        #[arg(long, value_name = "N")]
        custom_role_limit: Option<i32>,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// Divide a site into its business entities, which is not undone
    #[command(after_help = "\
Examples:
  rosterctl --site acme sites divide --unassigned-reach all --dry-run")]
    Divide {
        /// What members without a business entity reach from then on
        #[arg(long, value_enum)]
        unassigned_reach: UnassignedReach,
        #[command(flatten)]
        dry_run: DryRun,
    },
}

/// What a site does with groups outside of the convention.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Outsiders {
    /// Refuse them
    Refuse,
    /// Keep them; they grant nothing
    Keep,
}

/// What members without a business entity reach.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum UnassignedReach {
    /// The whole site
    All,
    /// Nothing
    None,
}

impl From<Outsiders> for OutsideGroups {
    fn from(outsiders: Outsiders) -> Self {
        match outsiders {
            Outsiders::Refuse => Self::Refuse,
            Outsiders::Keep => Self::Keep,
        }
    }
}

impl From<UnassignedReach> for Reach {
    fn from(reach: UnassignedReach) -> Self {
        match reach {
            UnassignedReach::All => Self::All,
            UnassignedReach::None => Self::None,
        }
    }
}

pub(super) async fn run(settings: &Settings, command: Sites) -> Result<Outcome, Failure> {
    let mut sites = SiteServiceClient::new(settings.channel()?);
    match command {
        Sites::Create {
            domain,
            owner_email,
            given_name,
            family_name,
            outside_groups,
            dry_run,
        } => {
            let owner = NewOwner {
                user_name: owner_email,
                given_name,
                family_name,
            };
            let request = CreateSiteRequest {
                domain,
                owner: Some(owner),
                outside_groups: OutsideGroups::from(outside_groups).into(),
                validate_only: dry_run.dry_run,
                request_id: request_id(),
                ..CreateSiteRequest::default()
            };
            let made = settings
                .make(Purpose::Administer, &request, async |request| {
                    sites.create_site(request).await
                })
                .await?;
            let site = made.site.unwrap_or_default();
            let owner = made.owner.unwrap_or_default();
            let mut object = object(&site);
            object["owner"] = json!({"id": owner.id, "user_name": owner.user_name});
            let table = format!("{}\nOwner                {}", table(&site), owner.user_name);
            print_write(
                settings,
                dry_run,
                made.receipt.as_ref(),
                Some(table),
                object,
            )
            .await
        }
        Sites::List => {
            let list = list(settings).await?;
            print(
                settings,
                || {
                    let mut table = show::table(["Domain", "Revision", "Made", "Id"]);
                    for site in &list {
                        let made = show::time(site.create_time.as_ref());
                        table.add_row([&site.domain, &site.revision.to_string(), &made, &site.id]);
                    }
                    table.to_string()
                },
                || json!({"sites": list.iter().map(json::site).collect::<Vec<_>>()}),
            )
        }
        Sites::Show => {
            let request = GetSiteRequest {
                site: settings.site(),
                ..GetSiteRequest::default()
            };
            let request = settings.request(Purpose::Work, request)?;
            let found = answer(settings, sites.get_site(request).await)?;
            let site = found.site.unwrap_or_default();
            print(settings, || table(&site), || object(&site))
        }
        Sites::Update {
            outside_groups,
            unassigned_reach,
            custom_role_limit,
            dry_run,
        } => {
            let mut values = Site::default();
            let mut paths = Vec::new();
            if let Some(outsiders) = outside_groups {
                values.outside_groups = OutsideGroups::from(outsiders).into();
                paths.push("outside_groups".to_owned());
            }
            if let Some(reach) = unassigned_reach {
                values.unassigned_reach = Reach::from(reach).into();
                paths.push("unassigned_reach".to_owned());
            }
            if let Some(limit) = custom_role_limit {
                values.custom_role_limit = limit;
                paths.push("custom_role_limit".to_owned());
            }
            if paths.is_empty() {
                return Err(Failure::usage(
                    "nothing to change: name --outside-groups, --unassigned-reach or --custom-role-limit",
                ));
            }
            let request = UpdateSiteRequest {
                site: settings.site(),
                values: Some(values),
                update_mask: Some(FieldMask { paths }),
                validate_only: dry_run.dry_run,
                ..UpdateSiteRequest::default()
            };
            let request = settings.request(Purpose::Administer, request)?;
            let updated = answer(settings, sites.update_site(request).await)?;
            let site = updated.site.unwrap_or_default();
            let receipt = updated.receipt.as_ref();
            print_write(
                settings,
                dry_run,
                receipt,
                Some(table(&site)),
                object(&site),
            )
            .await
        }
        Sites::Divide {
            unassigned_reach,
            dry_run,
        } => {
            let request = DivideSiteRequest {
                site: settings.site(),
                unassigned_reach: Reach::from(unassigned_reach).into(),
                validate_only: dry_run.dry_run,
                ..DivideSiteRequest::default()
            };
            let request = settings.request(Purpose::Administer, request)?;
            let divided = answer(settings, sites.divide_site(request).await)?;
            let site = divided.site.unwrap_or_default();
            let receipt = divided.receipt.as_ref();
            print_write(
                settings,
                dry_run,
                receipt,
                Some(table(&site)),
                object(&site),
            )
            .await
        }
    }
}

async fn list(settings: &Settings) -> Result<Vec<Site>, Failure> {
    let mut client = SiteServiceClient::new(settings.channel()?);
    let mut sites = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListSitesRequest {
            page_size: Some(1000),
            page_token,
            ..ListSitesRequest::default()
        };
        let request = settings.request(Purpose::Work, request)?;
        let page = answer(settings, client.list_sites(request).await)?;
        sites.extend(page.sites);
        if page.next_page_token.is_empty() {
            return Ok(sites);
        }
        page_token = page.next_page_token;
    }
}

fn object(site: &Site) -> Value {
    json!({"site": json::site(site)})
}

fn table(site: &Site) -> String {
    let divided = match site.divided {
        true => format!(
            "into business entities; without one a member reaches {}",
            show::reach(site.unassigned_reach())
        ),
        false => "no: roles reach the whole site".to_owned(),
    };
    let outside = match site.outside_groups() {
        OutsideGroups::Keep => "kept; they grant nothing",
        OutsideGroups::Refuse | OutsideGroups::Unspecified => "refused",
    };
    show::facts([
        ("Domain", site.domain.clone()),
        ("Id", site.id.clone()),
        ("Divided", divided),
        ("Groups of no target", outside.to_owned()),
        (
            "Custom roles",
            format!("at most {}", site.custom_role_limit),
        ),
        ("Revision", site.revision.to_string()),
        ("Made", show::time(site.create_time.as_ref())),
    ])
}
