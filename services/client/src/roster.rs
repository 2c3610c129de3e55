//! Where identity is, and who calls.

use std::{fmt, time::Duration};

use http::HeaderValue;
use identity_proto::v1::{
    AccessQuestion, CheckAccessRequest, SiteRef, access_service_client::AccessServiceClient,
    business_entity_service_client::BusinessEntityServiceClient,
    credential_service_client::CredentialServiceClient,
    diagnosis_service_client::DiagnosisServiceClient, event_service_client::EventServiceClient,
    grant_service_client::GrantServiceClient, group_service_client::GroupServiceClient,
    member_service_client::MemberServiceClient, role_service_client::RoleServiceClient,
    site_service_client::SiteServiceClient,
};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::{by_user_name, error::Error, named, permission, site, wire::Wire};

/// The deadline of a call where nothing else was said.
const DEADLINE: Duration = Duration::from_secs(10);
/// The largest answer that is taken: as large as identity's own.
const MAX_ANSWER: usize = 256 << 20;

/// A caller of identity. Clones share the connection.
#[derive(Clone)]
pub struct Roster {
    wire: Wire,
    site: Option<String>,
}

/// How a [`Roster`] is to be.
#[must_use]
pub struct Builder {
    address: String,
    token: String,
    site: Option<String>,
    deadline: Duration,
    tls: ClientTlsConfig,
    has_authority: bool,
}

impl Roster {
    /// A caller of identity at `address` (`http://host:port`, or `https://` where it speaks TLS), with a service's token. It connects with the
    /// first call.
    ///
    /// # Errors
    /// An address or a token that can't be one; an address without `http://` or `https://` is none.
    pub fn connect(address: &str, token: &str) -> Result<Self, Error> {
        Self::at(address).token(token).connect()
    }

    /// A caller of identity at `address`, with more to say about it.
    pub fn at(address: &str) -> Builder {
        Builder {
            address: address.to_owned(),
            token: String::new(),
            site: None,
            deadline: DEADLINE,
            tls: ClientTlsConfig::new(),
            has_authority: false,
        }
    }

    /// The same caller with another deadline for each call.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        let mut roster = self.clone();
        roster.wire.deadline = deadline;
        roster
    }

    /// The site that was named, for requests; none leaves it to the credential.
    #[must_use]
    pub fn site(&self) -> Option<SiteRef> {
        self.site.as_deref().and_then(site)
    }

    /// Whether the member of this user name holds the permission: in the business entity of this name, or
    /// anywhere where none is named. The reasons come with [`Roster::access`].
    ///
    /// # Errors
    /// A refusal; an unknown member or business entity is none, but a no.
    pub async fn may(
        &self,
        user_name: &str,
        asked: &str,
        business_entity: Option<&str>,
    ) -> Result<bool, Error> {
        let request = CheckAccessRequest {
            site: self.site(),
            question: Some(AccessQuestion {
                member: by_user_name(user_name),
                ability: permission(asked),
                business_entity: business_entity.map(named),
            }),
            ..CheckAccessRequest::default()
        };
        let answer = self.access().check_access(request).await?.into_inner();
        Ok(answer.answer.is_some_and(|answer| answer.allowed))
    }
}

/// One client a service of the contract.
macro_rules! clients {
    ($($(#[$doc:meta])* $name:ident: $client:ident;)*) => {
        impl Roster {$(
            $(#[$doc])*
            #[must_use]
            pub fn $name(&self) -> $client<Wire> {
                $client::new(self.wire.clone()).max_decoding_message_size(MAX_ANSWER)
            }
        )*}
    };
}

clients! {
    /// Who may do what, and why.
    access: AccessServiceClient;
    /// Business entities.
    business_entities: BusinessEntityServiceClient;
    /// Credentials.
    credentials: CredentialServiceClient;
    /// How identity itself is.
    diagnosis: DiagnosisServiceClient;
    /// The record of every change.
    events: EventServiceClient;
    /// Direct grants.
    grants: GrantServiceClient;
    /// Groups.
    groups: GroupServiceClient;
    /// Members.
    members: MemberServiceClient;
    /// Roles and the catalogue of permissions.
    roles: RoleServiceClient;
    /// Sites.
    sites: SiteServiceClient;
}

impl Builder {
    /// The credential's token.
    pub fn token(mut self, token: &str) -> Self {
        token.trim().clone_into(&mut self.token);
        self
    }

    /// The site's domain, which a credential of all sites has to name.
    pub fn site(mut self, domain: &str) -> Self {
        self.site = Some(domain.to_owned());
        self
    }

    /// The authority that vouches for identity, as PEM certificates, where the address begins with
    /// `https://`; the system's authorities where it is not said.
    pub fn authority(mut self, pem: &[u8]) -> Self {
        self.tls = self.tls.ca_certificate(Certificate::from_pem(pem));
        self.has_authority = true;
        self
    }

    /// The service's own certificate with its chain, and its key, as PEM, where identity asks for one.
    pub fn certificate(mut self, pem: &[u8], key: &[u8]) -> Self {
        self.tls = self.tls.identity(Identity::from_pem(pem, key));
        self
    }

    /// How long a call may take, with all its attempts; 10 s where it is not said.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The caller. It connects with the first call.
    ///
    /// # Errors
    /// An address or a token that can't be one.
    pub fn connect(self) -> Result<Roster, Error> {
        let mut endpoint = Endpoint::from_shared(self.address.clone())
            .map_err(|_| Error::Settings(format!("{:?} is no address", self.address)))?;
        // Without a scheme, or of a wrong one, it would be taken here and fail each call as if nobody were there.
        let uri = endpoint.uri();
        let is_known = matches!(uri.scheme_str(), Some("http" | "https"));
        if !is_known || uri.host().is_none_or(str::is_empty) {
            return Err(Error::Settings(format!(
                "{:?} is no address such as http://identity:8481, or https:// where it speaks TLS",
                self.address
            )));
        }
        if endpoint.uri().scheme_str() == Some("https") {
            let tls = match self.has_authority {
                true => self.tls,
                false => self.tls.with_native_roots(),
            };
            endpoint = endpoint
                .tls_config(tls)
                .map_err(|error| Error::Settings(format!("TLS: {error}")))?;
        }
        let endpoint = endpoint
            .connect_timeout(Duration::from_secs(5))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(true);
        if self.token.is_empty() {
            return Err(Error::Settings("no token was given".to_owned()));
        }
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", self.token))
            .map_err(|_| Error::Settings("the token has characters it can't have".to_owned()))?;
        authorization.set_sensitive(true);
        Ok(Roster {
            wire: Wire {
                channel: endpoint.connect_lazy(),
                authorization,
                deadline: self.deadline,
            },
            site: self.site,
        })
    }
}

/// Without the token.
impl fmt::Debug for Roster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Roster")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}

/// Without the token.
impl fmt::Debug for Builder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Builder")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use identity_proto::FILE_DESCRIPTOR_SET;
    use prost::Message;
    use prost_types::FileDescriptorSet;

    #[test]
    fn every_service_of_the_contract_has_its_client() {
        let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        let services = set.file.iter().flat_map(|file| &file.service);
        let source = include_str!("roster.rs");
        let without: Vec<&str> = services
            .map(|service| service.name())
            .filter(|name| !source.contains(&format!(": {name}Client;")))
            .collect();
        assert!(without.is_empty(), "{without:?}");
    }
}
