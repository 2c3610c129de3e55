//! Calls to identity, as a credential.

use std::time::Duration;

use anyhow::{Context, Result};
use identity_proto::v1::{
    SiteRef, access_service_client::AccessServiceClient,
    business_entity_service_client::BusinessEntityServiceClient,
    credential_service_client::CredentialServiceClient, member_service_client::MemberServiceClient,
    role_service_client::RoleServiceClient, site_ref::Ref, site_service_client::SiteServiceClient,
};
use tonic::{
    Request, Status,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// A caller of identity: where it is, and the token to call it with.
#[derive(Clone, Debug)]
pub struct Caller {
    channel: Channel,
    authorization: MetadataValue<tonic::metadata::Ascii>,
}

impl Caller {
    /// Calls identity at `host:port` with a token. It connects with the first call.
    pub fn new(address: &str, token: &str) -> Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .with_context(|| format!("{address:?} is no address"))?;
        Self::over(endpoint, token)
    }

    /// Calls identity at an endpoint, which may speak TLS, with a token. It connects with the first call.
    pub fn over(endpoint: Endpoint, token: &str) -> Result<Self> {
        let endpoint = endpoint.connect_timeout(Duration::from_secs(5));
        let authorization = format!("Bearer {token}")
            .parse()
            .context("the token has characters it can't have")?;
        Ok(Self {
            channel: endpoint.connect_lazy(),
            authorization,
        })
    }

    /// The same caller at another address of identity.
    pub fn at(&self, address: &str) -> Result<Self> {
        let authorization = self.authorization.clone();
        Ok(Self {
            authorization,
            ..Self::new(address, "")?
        })
    }

    /// A request of this caller's.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request
            .metadata_mut()
            .insert("authorization", self.authorization.clone());
        request.set_timeout(DEADLINE);
        request
    }

    /// The connection, for clients that are not listed here.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The sites.
    pub fn sites(&self) -> SiteServiceClient<Channel> {
        SiteServiceClient::new(self.channel.clone())
    }

    /// The credentials.
    pub fn credentials(&self) -> CredentialServiceClient<Channel> {
        CredentialServiceClient::new(self.channel.clone())
    }

    /// The members.
    pub fn members(&self) -> MemberServiceClient<Channel> {
        MemberServiceClient::new(self.channel.clone())
    }

    /// The roles.
    pub fn roles(&self) -> RoleServiceClient<Channel> {
        RoleServiceClient::new(self.channel.clone())
    }

    /// The business entities.
    pub fn business_entities(&self) -> BusinessEntityServiceClient<Channel> {
        BusinessEntityServiceClient::new(self.channel.clone())
    }

    /// Who may do what.
    pub fn access(&self) -> AccessServiceClient<Channel> {
        AccessServiceClient::new(self.channel.clone())
    }
}

/// A site by its domain.
pub fn site(domain: &str) -> Option<SiteRef> {
    Some(SiteRef {
        r#ref: Some(Ref::Domain(domain.to_owned())),
    })
}

/// Why a call was refused, in identity's own words (`USER_NAME_TAKEN`).
pub fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

/// Takes one refusal for an answer: what was asked for is so already.
pub(crate) fn accept<T>(
    outcome: Result<tonic::Response<T>, Status>,
    reason_to_accept: &str,
) -> Result<Option<T>> {
    match outcome {
        Ok(answer) => Ok(Some(answer.into_inner())),
        Err(status) if reason(&status).as_deref() == Some(reason_to_accept) => Ok(None),
        Err(status) => Err(refused(&status)),
    }
}

/// A refusal, for people.
pub(crate) fn refused(status: &Status) -> anyhow::Error {
    match reason(status) {
        Some(reason) => anyhow::anyhow!("identity answered {reason}: {}", status.message()),
        None => anyhow::anyhow!(
            "identity answered {:?}: {}",
            status.code(),
            status.message()
        ),
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::ErrorDetails;

    use super::*;

    fn taken() -> Status {
        let details = ErrorDetails::with_error_info("SITE_DOMAIN_TAKEN", "identity.roster", []);
        Status::with_error_details(Code::AlreadyExists, "taken", details)
    }

    #[test]
    fn one_refusal_is_as_good_as_an_answer() {
        assert!(
            accept::<()>(Err(taken()), "SITE_DOMAIN_TAKEN")
                .unwrap()
                .is_none()
        );
        let error = accept::<()>(Err(taken()), "ROLE_NAME_TAKEN").unwrap_err();
        assert_eq!(
            error.to_string(),
            "identity answered SITE_DOMAIN_TAKEN: taken"
        );
        assert!(
            refused(&Status::unavailable("away"))
                .to_string()
                .contains("Unavailable")
        );
    }
}
