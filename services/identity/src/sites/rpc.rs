//! How sites are asked for over gRPC.

use identity_proto::v1 as pb;
use tonic::{Request, Response, Status};

use super::{
    CUSTOM_ROLE_LIMIT_MAX, NewSite, OutsideGroups, Site, SiteChange, SiteKey, UnassignedReach,
    Versioned,
};
use crate::{
    authz::Method,
    batch::Batch,
    error::Error,
    filter::{Asked, Query},
    ids::SiteId,
    members::NewMember,
    names::{self, Name},
    site_tx::Identity,
    wire,
};

/// `identity.v1.SiteService`.
pub(crate) struct SiteRpc(pub(crate) Identity);

#[tonic::async_trait]
impl pb::site_service_server::SiteService for SiteRpc {
    async fn create_site(
        &self,
        request: Request<pb::CreateSiteRequest>,
    ) -> Result<Response<pb::CreateSiteResponse>, Status> {
        let context = self.0.context(Method::CreateSite, &request);
        let message = request.into_inner();
        let context = context
            .dry(message.validate_only)
            .once(&message.request_id, &message);
        let answer = super::create(
            &self.0,
            context,
            read_new(message),
            |(site, owner), receipt| pb::CreateSiteResponse {
                owner: Some(owner.into_proto(site.division)),
                // What made it is its first event.
                site: Some(site.into_proto(1)),
                receipt: Some(receipt.into()),
            },
        );
        Ok(Response::new(answer.await?))
    }

    async fn get_site(
        &self,
        request: Request<pb::GetSiteRequest>,
    ) -> Result<Response<pb::GetSiteResponse>, Status> {
        let context = self.0.context(Method::GetSite, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let (site, version) = super::get(&self.0, context).await?;
        Ok(Response::new(pb::GetSiteResponse {
            revision: site.revision,
            site: Some(site.into_proto(version)),
        }))
    }

    async fn list_sites(
        &self,
        request: Request<pb::ListSitesRequest>,
    ) -> Result<Response<pb::ListSitesResponse>, Status> {
        let context = self.0.context(Method::ListSites, &request);
        let page = super::list(&self.0, context, read_query(request.get_ref())).await?;
        Ok(Response::new(pb::ListSitesResponse {
            sites: shown(page.rows),
            total_size: page.total,
            next_page_token: page.next,
        }))
    }

    async fn batch_get_sites(
        &self,
        request: Request<pb::BatchGetSitesRequest>,
    ) -> Result<Response<pb::BatchGetSitesResponse>, Status> {
        let context = self.0.context(Method::BatchGetSites, &request);
        let named = Batch::read("sites", request.into_inner().sites, read_key);
        let (sites, unknown_sites) = super::get_several(&self.0, context, named).await?;
        Ok(Response::new(pb::BatchGetSitesResponse {
            sites: shown(sites),
            unknown_sites,
        }))
    }

    async fn update_site(
        &self,
        request: Request<pb::UpdateSiteRequest>,
    ) -> Result<Response<pb::UpdateSiteResponse>, Status> {
        let context = self.0.context(Method::UpdateSite, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .dry(message.validate_only);
        let ((site, version), receipt) =
            super::update(&self.0, context, read_change(&message)).await?;
        Ok(Response::new(pb::UpdateSiteResponse {
            site: Some(site.into_proto(version)),
            receipt: Some(receipt.into()),
        }))
    }

    async fn divide_site(
        &self,
        request: Request<pb::DivideSiteRequest>,
    ) -> Result<Response<pb::DivideSiteResponse>, Status> {
        let context = self.0.context(Method::DivideSite, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .dry(message.validate_only);
        let reach = read_reach(message.unassigned_reach());
        let ((site, version), receipt) = super::divide(&self.0, context, reach).await?;
        Ok(Response::new(pb::DivideSiteResponse {
            site: Some(site.into_proto(version)),
            receipt: Some(receipt.into()),
        }))
    }
}

fn shown(sites: Vec<Versioned>) -> Vec<pb::Site> {
    sites
        .into_iter()
        .map(|(site, version)| site.into_proto(version))
        .collect()
}

/// A site as a batch names it; none where it can be none.
fn read_key(site: &pb::SiteRef) -> Result<Option<SiteKey>, Error> {
    let unnamed = || Error::invalid("sites", "must name each site by id or domain");
    Ok(match site.r#ref.as_ref().ok_or_else(unnamed)? {
        pb::site_ref::Ref::Id(id) => SiteId::parse(id).map(SiteKey::Id),
        pb::site_ref::Ref::Domain(domain) => Some(SiteKey::Domain(names::lookup_key(domain))),
    })
}

fn read_query(message: &pb::ListSitesRequest) -> Result<Query, Error> {
    Ok(Query::read(&Asked {
        list: "sites",
        filter: message.filter.as_ref(),
        order: message.order.as_ref(),
        page_size: message.page_size,
        default_size: wire::PAGE_SIZE_DEFAULT,
        skip: message.skip,
        page_token: &message.page_token,
    })?
    .by_default("domain", false))
}

fn read_new(message: pb::CreateSiteRequest) -> Result<NewSite, Error> {
    let outside_groups = read_outside(message.outside_groups()).unwrap_or(OutsideGroups::Refuse);
    let owner = message.owner.unwrap_or_default();
    let profile = pb::MemberProfile {
        name: Some(pb::PersonName {
            given_name: owner.given_name,
            family_name: owner.family_name,
            ..pb::PersonName::default()
        }),
        ..pb::MemberProfile::default()
    };
    let owner = pb::Member {
        user_name: owner.user_name,
        active: true,
        profile: Some(profile),
        ..pb::Member::default()
    };
    let owner = NewMember::read(owner)?;
    owner.require_name()?;
    Ok(NewSite {
        domain: Name::domain(&message.domain)?,
        owner,
        outside_groups,
    })
}

fn read_change(message: &pb::UpdateSiteRequest) -> Result<SiteChange, Error> {
    let known = ["unassigned_reach", "outside_groups", "custom_role_limit"];
    let values = message.values.clone().unwrap_or_default();
    let mut change = SiteChange {
        if_versions: message.if_versions.clone(),
        ..SiteChange::default()
    };
    for path in wire::mask(message.update_mask.as_ref(), &known)? {
        match path {
            "unassigned_reach" => {
                change.unassigned_reach = Some(read_reach(values.unassigned_reach())?);
            }
            "outside_groups" => {
                let setting = read_outside(values.outside_groups());
                change.outside_groups =
                    Some(setting.ok_or_else(|| {
                        Error::invalid("outside_groups", "must be REFUSE or KEEP")
                    })?);
            }
            _ => {
                let limit = values.custom_role_limit;
                if !(0..=CUSTOM_ROLE_LIMIT_MAX).contains(&limit) {
                    return Err(Error::invalid(
                        "custom_role_limit",
                        format!("is {limit}; it goes from 0 to {CUSTOM_ROLE_LIMIT_MAX}"),
                    ));
                }
                change.custom_role_limit = Some(limit);
            }
        }
    }
    Ok(change)
}

fn read_reach(reach: pb::Reach) -> Result<UnassignedReach, Error> {
    match reach {
        pb::Reach::All => Ok(UnassignedReach::All),
        pb::Reach::None => Ok(UnassignedReach::None),
        pb::Reach::Unspecified | pb::Reach::Listed => {
            Err(Error::invalid("unassigned_reach", "must be ALL or NONE"))
        }
    }
}

fn read_outside(setting: pb::OutsideGroups) -> Option<OutsideGroups> {
    match setting {
        pb::OutsideGroups::Unspecified => None,
        pb::OutsideGroups::Refuse => Some(OutsideGroups::Refuse),
        pb::OutsideGroups::Keep => Some(OutsideGroups::Keep),
    }
}

impl Site {
    /// As the contract shows it.
    pub(crate) fn into_proto(self, version: i64) -> pb::Site {
        let site = self;
        pb::Site {
            version,
            id: site.id.to_string(),
            divided: site.division.is_some(),
            unassigned_reach: match site.division {
                None => pb::Reach::Unspecified,
                Some(UnassignedReach::All) => pb::Reach::All,
                Some(UnassignedReach::None) => pb::Reach::None,
            }
            .into(),
            outside_groups: match site.outside_groups {
                OutsideGroups::Refuse => pb::OutsideGroups::Refuse,
                OutsideGroups::Keep => pb::OutsideGroups::Keep,
            }
            .into(),
            custom_role_limit: site.custom_role_limit,
            revision: site.revision,
            create_time: Some(wire::timestamp(site.created_at)),
            domain: site.domain,
        }
    }
}
