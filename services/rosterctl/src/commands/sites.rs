//! `rosterctl sites`

use identity_proto::v1::{
    CreateSiteRequest, GetSiteRequest, NewOwner, OutsideGroups, Site,
    site_service_client::SiteServiceClient,
};
use serde_json::json;

use super::{answer, print};
use crate::{
    arguments::Sites,
    connection::{Purpose, Settings},
    failure::Failure,
    json, show,
};

pub(super) async fn run(settings: &Settings, command: Sites) -> Result<(), Failure> {
    let mut sites = SiteServiceClient::new(settings.channel()?);
    match command {
        Sites::Create {
            domain,
            owner_email,
            given_name,
            family_name,
        } => {
            let owner = NewOwner {
                user_name: owner_email,
                given_name,
                family_name,
            };
            let request = CreateSiteRequest {
                domain,
                owner: Some(owner),
                ..CreateSiteRequest::default()
            };
            let request = settings.request(Purpose::Administer, request)?;
            let made = answer(settings, sites.create_site(request).await)?;
            let site = made.site.unwrap_or_default();
            let owner = made.owner.unwrap_or_default();
            print(
                settings,
                || format!("{}\nOwner                {}", table(&site), owner.user_name),
                || {
                    json!({
                        "site": json::site(&site),
                        "owner": {"id": owner.id, "user_name": owner.user_name},
                        "receipt": json::receipt(made.receipt.as_ref()),
                    })
                },
            )
        }
        Sites::Show => {
            let request = GetSiteRequest {
                site: settings.site(),
                ..Default::default()
            };
            let request = settings.request(Purpose::Read, request)?;
            let site = answer(settings, sites.get_site(request).await)?
                .site
                .unwrap_or_default();
            print(
                settings,
                || table(&site),
                || json!({"site": json::site(&site)}),
            )
        }
    }
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
