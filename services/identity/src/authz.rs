//! Who may call what: one table, and nothing is allowed that does not stand in it.

use std::fmt;

use crate::error::Error;

/// What a credential may do. The scopes of a credential add up.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Scope {
    /// Members and groups, as a site's identity provider may.
    Provision,
    /// Reads everything of the site.
    Read,
    /// Writes of every kind.
    Write,
    /// Administers sites, their settings and their credentials.
    Administer,
    /// Asks who may do what.
    Check,
    /// Follows events.
    Watch,
    /// Writes members.
    WriteMembers,
    /// Writes groups and who is in them.
    WriteGroups,
    /// Writes custom roles.
    WriteRoles,
    /// Writes business entities.
    WriteBusinessEntities,
    /// Writes direct grants, those of Owner too.
    WriteGrants,
}

impl Scope {
    pub(crate) const ALL: [Self; 11] = [
        Self::Provision,
        Self::Read,
        Self::Write,
        Self::Administer,
        Self::Check,
        Self::Watch,
        Self::WriteMembers,
        Self::WriteGroups,
        Self::WriteRoles,
        Self::WriteBusinessEntities,
        Self::WriteGrants,
    ];

    /// The scope as it is kept and shown.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Provision => "provision",
            Self::Read => "read",
            Self::Write => "write",
            Self::Administer => "administer",
            Self::Check => "check",
            Self::Watch => "watch",
            Self::WriteMembers => "write_members",
            Self::WriteGroups => "write_groups",
            Self::WriteRoles => "write_roles",
            Self::WriteBusinessEntities => "write_business_entities",
            Self::WriteGrants => "write_grants",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }

    /// Whether a credential with `held` may do what this scope allows.
    pub(crate) fn is_held(self, held: &[Self]) -> bool {
        held.iter().any(|scope| scope.includes(self))
    }

    /// Whether this scope allows all that `other` does.
    const fn includes(self, other: Self) -> bool {
        match other {
            Self::WriteMembers
            | Self::WriteGroups
            | Self::WriteRoles
            | Self::WriteBusinessEntities
            | Self::WriteGrants => matches!(self, Self::Write) || self as u8 == other as u8,
            // Who reads everything can work out who may do what.
            Self::Check => matches!(self, Self::Check | Self::Read),
            Self::Provision | Self::Read | Self::Write | Self::Administer | Self::Watch => {
                self as u8 == other as u8
            }
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a method asks of its caller.
struct Needs {
    /// The service it belongs to, for the published table.
    #[cfg(test)]
    service: &'static str,
    /// One of these, or one that includes it; none listed: any valid credential.
    any_of: &'static [Scope],
    /// Whether the bootstrap token may call it.
    bootstrap: bool,
    /// Whether it takes a credential of all sites.
    all_sites: bool,
}

/// Reads the table below.
macro_rules! methods {
    ($($service:ident { $($method:ident: [$($scope:ident)*] $(of $all:ident)? $(or $bootstrap:ident)?;)* })*) => {
        /// A method of the API.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(crate) enum Method {
            $($($method,)*)*
        }

        impl Method {
            #[cfg(test)]
            const ALL: &[Self] = &[$($(Self::$method,)*)*];

            const fn needs(self) -> Needs {
                match self {
                    $($(Self::$method => Needs {
                        #[cfg(test)]
                        service: stringify!($service),
                        any_of: &[$(Scope::$scope),*],
                        bootstrap: methods!(@$($bootstrap)?),
                        all_sites: methods!(@$($all)?),
                    },)*)*
                }
            }
        }
    };
    (@bootstrap) => { true };
    (@all_sites) => { true };
    (@) => { false };
}

// Every method of every service, the scopes of which its caller needs one, whether its credential has to be of all
// sites, and whether the bootstrap token will do. A method that is not here can't be called: its context is made of one of these.
methods! {
    SiteService {
        CreateSite: [Administer] of all_sites or bootstrap;
        GetSite: [Read];
        ListSites: [Read] of all_sites;
        BatchGetSites: [Read] of all_sites;
        UpdateSite: [Administer];
        DivideSite: [Administer];
    }
    CredentialService {
        IssueCredential: [Administer] or bootstrap;
        ListCredentials: [Administer] or bootstrap;
        RevokeCredential: [Administer] or bootstrap;
        GetCredential: [Administer] or bootstrap;
        BatchGetCredentials: [Administer] or bootstrap;
        UpdateCredential: [Administer] or bootstrap;
        GetCaller: [] or bootstrap;
    }
    MemberService {
        CreateMember: [Provision WriteMembers];
        GetMember: [Provision Read];
        BatchGetMembers: [Provision Read];
        ListMembers: [Provision Read];
        UpdateMember: [Provision WriteMembers];
        DeleteMember: [Provision WriteMembers];
    }
    RoleService {
        CreateRole: [WriteRoles];
        GetRole: [Provision Read];
        BatchGetRoles: [Provision Read];
        ListRoles: [Provision Read];
        UpdateRole: [WriteRoles];
        DeleteRole: [WriteRoles];
        ListPermissions: [Provision Check];
    }
    BusinessEntityService {
        CreateBusinessEntity: [WriteBusinessEntities];
        GetBusinessEntity: [Provision Read];
        BatchGetBusinessEntities: [Provision Read];
        ListBusinessEntities: [Provision Read];
        UpdateBusinessEntity: [WriteBusinessEntities];
        DeleteBusinessEntity: [WriteBusinessEntities];
    }
    GroupService {
        CreateGroup: [Provision WriteGroups];
        GetGroup: [Provision Read];
        BatchGetGroups: [Provision Read];
        ListGroups: [Provision Read];
        UpdateGroup: [Provision WriteGroups];
        DeleteGroup: [Provision WriteGroups];
    }
    GrantService {
        CreateGrant: [WriteGrants];
        UpdateGrant: [WriteGrants];
        EndGrant: [WriteGrants];
        GetGrant: [Read];
        BatchGetGrants: [Read];
        ListGrants: [Read];
    }
    AccessService {
        CheckAccess: [Check];
        BatchCheckAccess: [Check];
        ExplainAccess: [Check];
        ListMemberAccess: [Check];
        ListMembersWithRole: [Check];
        ListMembersInBusinessEntity: [Check];
        ListMembersWithPermission: [Check];
    }
    DiagnosisService {
        GetDiagnosis: [Read Administer] or bootstrap;
    }
    EventService {
        ListEvents: [Read Watch];
        WatchEvents: [Watch];
    }
}

impl Method {
    /// Lets a credential with `scopes`, of all sites or of one, pass, or says what it lacks.
    pub(crate) fn allow(self, scopes: &[Scope], of_all_sites: bool) -> Result<(), Error> {
        let needs = self.needs();
        let held =
            needs.any_of.is_empty() || needs.any_of.iter().any(|scope| scope.is_held(scopes));
        if held && (of_all_sites || !needs.all_sites) {
            return Ok(());
        }
        Err(self.missing())
    }

    fn missing(self) -> Error {
        Error::ScopeMissing {
            needed: self.scopes(),
            all_sites: self.needs().all_sites,
        }
    }

    /// Lets the bootstrap token pass, or says which scope a credential would need.
    pub(crate) fn allow_bootstrap(self) -> Result<(), Error> {
        if self.needs().bootstrap {
            return Ok(());
        }
        Err(self.missing())
    }

    /// The scopes of which one is needed, those that include another after it.
    fn scopes(self) -> String {
        let mut scopes: Vec<Scope> = Vec::new();
        for needed in self.needs().any_of {
            scopes.push(*needed);
            let wider = Scope::ALL.into_iter();
            scopes.extend(wider.filter(|scope| scope != needed && scope.includes(*needed)));
        }
        let names: Vec<&str> = scopes.into_iter().map(Scope::as_str).collect();
        names.join(" or ")
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, env, fs, path::Path};

    use prost::Message;

    use super::*;

    /// The names of all methods in the contract, `<service>/<method>`.
    fn contract() -> BTreeSet<String> {
        let set =
            prost_types::FileDescriptorSet::decode(identity_proto::FILE_DESCRIPTOR_SET).unwrap();
        let services = set.file.iter().flat_map(|file| &file.service);
        services
            .flat_map(|service| {
                let methods = service.method.iter();
                methods.map(move |method| format!("{}/{}", service.name(), method.name()))
            })
            .collect()
    }

    /// The table as `docs/scopes.md` shows it.
    fn rendered() -> String {
        let mut text = String::from(
            "| service | method | scopes, one of which is needed | of all sites | bootstrap token |\n\
             |---|---|---|---|---|\n",
        );
        for method in Method::ALL {
            let needs = method.needs();
            let scopes = match method.scopes() {
                none if none.is_empty() => "any valid credential".to_owned(),
                some => format!("`{}`", some.replace(" or ", "`, `")),
            };
            let bootstrap = if needs.bootstrap { "yes" } else { "" };
            let all = if needs.all_sites { "yes" } else { "" };
            text += &format!(
                "| {} | {method:?} | {scopes} | {all} | {bootstrap} |\n",
                needs.service
            );
        }
        text
    }

    #[test]
    fn every_method_of_the_contract_stands_in_the_table_and_nothing_else() {
        let table: BTreeSet<String> = Method::ALL
            .iter()
            .map(|method| format!("{}/{method:?}", method.needs().service))
            .collect();
        assert_eq!(table, contract());
    }

    /// What the contract says of a method, in one line.
    fn comment(service: &str, method: &str) -> String {
        let set =
            prost_types::FileDescriptorSet::decode(identity_proto::FILE_DESCRIPTOR_SET).unwrap();
        for file in &set.file {
            for (of, s) in file.service.iter().zip(0..) {
                let place = of.method.iter().position(|own| own.name() == method);
                let Some(m) = place.filter(|_| of.name() == service) else {
                    continue;
                };
                let path = [6, s, 2, i32::try_from(m).unwrap()];
                let mut locations = file.source_code_info.iter().flat_map(|info| &info.location);
                let found = locations.find(|location| location.path == path).unwrap();
                let lines = found.leading_comments().lines().map(str::trim);
                return lines.collect::<Vec<_>>().join(" ");
            }
        }
        panic!("{service}/{method} is not in the contract")
    }

    #[test]
    fn every_method_says_in_the_contract_the_scopes_that_the_table_asks_for() {
        for method in Method::ALL {
            let needs = method.needs();
            let said = comment(needs.service, &format!("{method:?}"));
            let scopes = match said.split_once("Scope: ") {
                Some((_, rest)) => rest.split(['.', ',', ';', '(']).next().unwrap().trim(),
                None => {
                    assert!(said.contains("Any valid credential."), "{method:?}: {said}");
                    ""
                }
            };
            assert_eq!(scopes, method.scopes(), "{method:?}: {said}");
            let bootstrap = said.contains("bootstrap token") || scopes.is_empty();
            assert_eq!(bootstrap, needs.bootstrap, "{method:?}: {said}");
        }
    }

    #[test]
    fn the_table_in_the_docs_is_this_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/scopes.md");
        let text = fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once("<!-- table -->\n").unwrap();
        let (table, after) = rest.split_once("<!-- end -->").unwrap();
        if env::var_os("ROSTER_REWRITE_DOCS").is_some() {
            let text = format!("{before}<!-- table -->\n{}<!-- end -->{after}", rendered());
            fs::write(&path, text).unwrap();
            return;
        }
        assert!(
            table == rendered(),
            "docs/scopes.md has another table: run this test with ROSTER_REWRITE_DOCS=1"
        );
    }

    #[test]
    fn a_wider_scope_includes_the_narrower_ones_and_no_others() {
        use Scope as S;
        for held in S::ALL {
            let mut expected = vec![held];
            match held {
                S::Write => expected.extend([
                    S::WriteMembers,
                    S::WriteGroups,
                    S::WriteRoles,
                    S::WriteBusinessEntities,
                    S::WriteGrants,
                ]),
                S::Read => expected.push(S::Check),
                _ => {}
            }
            let included: Vec<S> = S::ALL
                .into_iter()
                .filter(|scope| scope.is_held(&[held]))
                .collect();
            assert_eq!(included, expected, "{held}");
            assert_eq!(S::parse(held.as_str()), Some(held));
        }
    }

    #[test]
    fn the_bootstrap_token_only_makes_sites_and_administers_credentials() {
        for method in [
            Method::CreateSite,
            Method::IssueCredential,
            Method::GetCaller,
        ] {
            assert!(method.allow_bootstrap().is_ok(), "{method:?}");
        }
        for method in [
            Method::CreateMember,
            Method::GetMember,
            Method::CreateGrant,
            Method::ListEvents,
        ] {
            assert!(
                matches!(method.allow_bootstrap(), Err(Error::ScopeMissing { .. })),
                "{method:?}"
            );
        }
    }

    #[test]
    fn a_provisioning_credential_gives_no_direct_grants() {
        assert!(
            Method::UpdateGroup
                .allow(&[Scope::Provision], false)
                .is_ok()
        );
        let refused = Method::CreateGrant.allow(&[Scope::Provision], true);
        let Err(Error::ScopeMissing { needed, .. }) = refused else {
            panic!("allowed");
        };
        assert_eq!(needed, "write_grants or write");
        assert!(Method::GetMember.allow(&[], true).is_err());
    }

    #[test]
    fn which_sites_there_are_is_for_credentials_of_all_of_them() {
        for method in [Method::ListSites, Method::BatchGetSites] {
            assert!(method.allow(&[Scope::Read], true).is_ok());
            let Err(Error::ScopeMissing { all_sites, .. }) = method.allow(&[Scope::Read], false)
            else {
                panic!("{method:?} is allowed");
            };
            assert!(all_sites, "{method:?}");
        }
    }
}
