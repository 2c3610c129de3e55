//! The demonstration site: `acme`, its Owner, its two business entities, and its credentials.

use anyhow::Result;
use identity_proto::v1::{
    BusinessEntity, CreateBusinessEntityRequest, CreateSiteRequest, DivideSiteRequest,
    GetCallerRequest, GetSiteRequest, IssueCredentialRequest, NewOwner, Reach, Scope,
};
use tonic::Code;

use crate::grpc::{Caller, accept, refused, site};

/// The site's domain.
pub const DOMAIN: &str = "acme";
/// The user name of the site's Owner.
pub const OWNER: &str = "owner@acme.example";

const ENTITIES: [&str; 2] = ["EU GmbH", "US Inc"];

/// The tokens of the demonstration site.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// Of its identity provider.
    pub scim: String,
    /// Of a service that may do everything on the site.
    pub service: String,
}

/// Makes the demonstration site, or what is missing of it, and tokens where those known stopped working.
pub async fn set_up(address: &str, bootstrap_token: &str, known: Tokens) -> Result<Tokens> {
    let bootstrap = Caller::new(address, bootstrap_token)?;
    let owner = NewOwner {
        user_name: OWNER.to_owned(),
        given_name: "Olivia".to_owned(),
        family_name: "Owner".to_owned(),
    };
    let create = CreateSiteRequest {
        domain: DOMAIN.to_owned(),
        owner: Some(owner),
        ..Default::default()
    };
    accept(
        bootstrap
            .sites()
            .create_site(bootstrap.request(create))
            .await,
        "SITE_DOMAIN_TAKEN",
    )?;

    let scim = match works(address, &known.scim).await? {
        true => known.scim,
        false => issue(&bootstrap, "Okta, for demonstrations", &[Scope::Provision]).await?,
    };
    let everything = [Scope::Read, Scope::Write, Scope::Administer, Scope::Watch];
    let service = match works(address, &known.service).await? {
        true => known.service,
        false => issue(&bootstrap, "Development", &everything).await?,
    };

    let caller = Caller::new(address, &service)?;
    let present = GetSiteRequest {
        site: site(DOMAIN),
        ..Default::default()
    };
    let present = caller
        .sites()
        .get_site(caller.request(present))
        .await
        .map_err(|status| refused(&status))?;
    // The division is the last step. After it the site is its user's: what was renamed or deleted stays so.
    if present.into_inner().site.is_some_and(|site| site.divided) {
        return Ok(Tokens { scim, service });
    }
    for name in ENTITIES {
        make_business_entity(&caller, DOMAIN, name).await?;
    }
    let divide = DivideSiteRequest {
        site: site(DOMAIN),
        unassigned_reach: Reach::None.into(),
        validate_only: false,
    };
    accept(
        caller.sites().divide_site(caller.request(divide)).await,
        "SITE_DIVIDED",
    )?;
    Ok(Tokens { scim, service })
}

/// Makes a business entity unless there is one of that name.
pub(crate) async fn make_business_entity(caller: &Caller, domain: &str, name: &str) -> Result<()> {
    let entity = BusinessEntity {
        name: name.to_owned(),
        ..Default::default()
    };
    let create = CreateBusinessEntityRequest {
        site: site(domain),
        business_entity: Some(entity),
        validate_only: false,
        ..Default::default()
    };
    let outcome = caller
        .business_entities()
        .create_business_entity(caller.request(create))
        .await;
    accept(outcome, "BUSINESS_ENTITY_NAME_TAKEN")?;
    Ok(())
}

/// Whether a token speaks for the demonstration site.
async fn works(address: &str, token: &str) -> Result<bool> {
    if token.is_empty() {
        return Ok(false);
    }
    let caller = Caller::new(address, token)?;
    let request = caller.request(GetCallerRequest {
        site: site(DOMAIN),
        ..Default::default()
    });
    match caller.credentials().get_caller(request).await {
        Ok(_) => Ok(true),
        Err(status) if matches!(status.code(), Code::Unauthenticated | Code::NotFound) => Ok(false),
        Err(status) => Err(refused(&status)),
    }
}

async fn issue(bootstrap: &Caller, label: &str, scopes: &[Scope]) -> Result<String> {
    let issue = IssueCredentialRequest {
        site: site(DOMAIN),
        label: label.to_owned(),
        scopes: scopes.iter().map(|scope| i32::from(*scope)).collect(),
        ..Default::default()
    };
    let outcome = bootstrap
        .credentials()
        .issue_credential(bootstrap.request(issue))
        .await;
    Ok(outcome
        .map_err(|status| refused(&status))?
        .into_inner()
        .token)
}
