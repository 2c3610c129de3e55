//! A Roster of its own for each test: a database, both services on free ports, a site.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use identity_proto::v1 as pb;
use roster_stack::{
    grpc::{Caller, site},
    ports::free_port,
    services::{Service, ServiceOptions},
};
use tempfile::TempDir;

use crate::{
    canaries,
    certificates::{Authority, Certified},
    collector::Collector,
    database::{Database, migrate_with, server},
    rpc::Rpc,
    scim::Scim,
};

/// The bootstrap token of every test's identity.
pub const BOOTSTRAP: &str = "bootstrap-token-of-the-integration-tests";
/// The user name of a site's first Owner.
pub const OWNER: &str = "owner@acme.example";

/// How a test's Roster differs from the usual one.
#[derive(Debug, Default)]
pub struct Settings {
    /// Variables of identity's environment.
    pub identity: Vec<(&'static str, String)>,
    /// Variables of the facade's environment.
    pub facade: Vec<(&'static str, String)>,
    /// The port at which identity finds the database server instead (a proxy before it).
    pub database_port: Option<u16>,
    /// Where the facade finds identity instead (a proxy before it), as a port.
    pub identity_port: Option<u16>,
    /// Another database, as it is.
    pub database: Option<Database>,
    /// Another build of identity, which also makes the schema.
    pub identity_build: Option<PathBuf>,
    /// Another build of the facade.
    pub facade_build: Option<PathBuf>,
}

impl Settings {
    /// With these variables for both services.
    pub fn for_both(variables: Vec<(&'static str, String)>) -> Self {
        Self {
            identity: variables.clone(),
            facade: variables,
            ..Self::default()
        }
    }
}

/// A running Roster.
#[derive(Debug)]
pub struct World {
    /// The facade.
    pub facade: Service,
    /// Identity.
    pub identity: Service,
    /// The database.
    pub database: Database,
    logs: TempDir,
    /// How many identities were started besides.
    started: AtomicU32,
}

/// A site and its callers.
#[derive(Debug)]
pub struct Site {
    /// The site's id.
    pub id: String,
    /// The site's domain.
    pub domain: String,
    /// Its identity provider.
    pub scim: Scim,
    /// The identity provider's token.
    pub scim_token: String,
    /// A service that may read and write everything of the site, and administer it.
    pub rpc: Rpc,
    /// That service's token.
    pub service_token: String,
}

impl World {
    /// Starts a Roster.
    pub async fn start() -> Self {
        Self::with(Settings::default()).await
    }

    /// Starts a Roster that differs from the usual one.
    pub async fn with(settings: Settings) -> Self {
        tokio::task::spawn_blocking(move || Self::start_blocking(settings))
            .await
            .unwrap()
    }

    fn start_blocking(settings: Settings) -> Self {
        let guard = &server().guard;
        let database = match (settings.database, &settings.identity_build) {
            (Some(database), _) => database,
            (None, None) => Database::create(),
            (None, Some(build)) => {
                let database = Database::empty();
                migrate_with(build, database.url());
                database
            }
        };
        let logs = tempfile::tempdir().unwrap();
        let url = match settings.database_port {
            Some(port) => database.url_through(port),
            None => database.url().to_owned(),
        };
        let mut options = Self::identity_options(
            &url,
            free_port().unwrap(),
            &logs.path().join("identity.log"),
        );
        options = options.variable("OTEL_EXPORTER_OTLP_ENDPOINT", canaries::endpoint());
        for (name, value) in settings.identity {
            options = options.variable(name, value);
        }
        if let Some(build) = &settings.identity_build {
            options = options.built(build);
        }
        let identity = Service::start(options, guard).unwrap();
        let mut options = ServiceOptions::facade(
            settings.identity_port.unwrap_or(identity.port()),
            free_port().unwrap(),
            free_port().unwrap(),
            &logs.path().join("facade.log"),
        );
        options = options.variable("OTEL_EXPORTER_OTLP_ENDPOINT", canaries::endpoint());
        for (name, value) in settings.facade {
            options = options.variable(name, value);
        }
        if let Some(build) = &settings.facade_build {
            options = options.built(build);
        }
        let facade = Service::start(options, guard).unwrap();
        Self {
            facade,
            identity,
            database,
            logs,
            started: AtomicU32::new(0),
        }
    }

    /// What an identity of a test is started with.
    pub fn identity_options(url: &str, port: u16, log: &Path) -> ServiceOptions {
        ServiceOptions::identity(url, port, free_port().unwrap(), log)
            .variable("ROSTER_BOOTSTRAP_TOKEN", BOOTSTRAP)
            .variable("ROSTER_DB_POOL", "6")
    }

    /// Starts one that sends its spans to this collector, with more variables for both services.
    pub async fn exporting(collector: &Collector, more: &[(&'static str, &str)]) -> Self {
        let mut variables = collector.variables();
        let more = more.iter();
        variables.extend(more.map(|(name, value)| (*name, (*value).to_owned())));
        Self::with(Settings::for_both(variables)).await
    }

    /// Another identity on the same database, on a port of its own.
    pub async fn another_identity(&self) -> Service {
        self.identity_at(self.database.url()).await
    }

    /// Another identity on the same database, by this address of it (that of a proxy).
    pub async fn identity_at(&self, url: &str) -> Service {
        let number = self.started.fetch_add(1, Ordering::Relaxed) + 2;
        let log = self.logs.path().join(format!("identity-{number}.log"));
        let url = url.to_owned();
        tokio::task::spawn_blocking(move || {
            let options = Self::identity_options(&url, free_port().unwrap(), &log);
            Service::start(options, &server().guard).unwrap()
        })
        .await
        .unwrap()
    }

    /// Another identity on the same database, which speaks TLS with this certificate (`server.crt` in this folder,
    /// with its key and log); `clients` vouches for clients where they need a certificate.
    pub async fn identity_over_tls(
        &self,
        certificate: &Certified,
        clients: Option<&Authority>,
        folder: &Path,
    ) -> Service {
        let (certificate, key) = certificate.write(folder, "server");
        let log = folder.join("identity.log");
        let mut options = Self::identity_options(self.database.url(), free_port().unwrap(), &log)
            .variable("ROSTER_TLS_CERT", certificate.display().to_string())
            .variable("ROSTER_TLS_KEY", key.display().to_string());
        if let Some(clients) = clients {
            let file = folder.join("clients.crt");
            fs::write(&file, &clients.pem).unwrap();
            options = options.variable("ROSTER_TLS_CLIENT_CA", file.display().to_string());
        }
        tokio::task::spawn_blocking(|| Service::start(options, &server().guard).unwrap())
            .await
            .unwrap()
    }

    /// A second facade, which finds identity at this port (a proxy before it).
    pub async fn another_facade(&self, identity_port: u16) -> Service {
        let log = self.logs.path().join("facade-2.log");
        tokio::task::spawn_blocking(move || {
            let (port, admin_port) = (free_port().unwrap(), free_port().unwrap());
            let options = ServiceOptions::facade(identity_port, port, admin_port, &log);
            Service::start(options, &server().guard).unwrap()
        })
        .await
        .unwrap()
    }

    /// The folder of the services' logs.
    pub fn logs(&self) -> PathBuf {
        self.logs.path().to_owned()
    }

    /// What both services have logged.
    pub fn log(&self) -> String {
        [self.identity.log(), self.facade.log()]
            .map(|path| std::fs::read_to_string(path).unwrap_or_default())
            .join("\n")
    }

    /// Where identity is.
    pub fn grpc_addr(&self) -> String {
        format!("127.0.0.1:{}", self.identity.port())
    }

    /// A caller of identity with this token.
    pub fn caller(&self, token: &str) -> Caller {
        Caller::new(&self.grpc_addr(), token).unwrap()
    }

    /// A caller of the facade, for a site, with this in `Authorization`.
    pub fn scim(&self, domain: &str, authorization: &str) -> Scim {
        let url = format!("http://127.0.0.1:{}/{domain}/scim/v2", self.facade.port());
        Scim::new(&url, authorization)
    }

    /// Makes a credential; answers with its token and id.
    pub async fn issue(&self, domain: &str, scopes: &[pb::Scope]) -> (String, String) {
        let bootstrap = self.caller(BOOTSTRAP);
        let request = pb::IssueCredentialRequest {
            site: site(domain),
            label: "Okta of the tests".to_owned(),
            scopes: scopes.iter().map(|scope| i32::from(*scope)).collect(),
            ..Default::default()
        };
        let answer = bootstrap
            .credentials()
            .issue_credential(bootstrap.request(request))
            .await
            .unwrap()
            .into_inner();
        (answer.token, answer.credential.unwrap().id)
    }

    /// Makes a credential of all sites; answers with its token and id.
    pub async fn issue_for_all(&self, scopes: &[pb::Scope]) -> (String, String) {
        let bootstrap = self.caller(BOOTSTRAP);
        let request = pb::IssueCredentialRequest {
            all_sites: true,
            label: "A service of the tests".to_owned(),
            scopes: scopes.iter().map(|scope| i32::from(*scope)).collect(),
            ..Default::default()
        };
        let request = bootstrap.request(request);
        let answer = bootstrap.credentials().issue_credential(request).await;
        let answer = answer.unwrap().into_inner();
        (answer.token, answer.credential.unwrap().id)
    }

    /// Makes a site with an Owner (`owner@<domain>.example`) and nothing else: not divided.
    pub async fn bare_site(&self, domain: &str) -> Site {
        let bootstrap = self.caller(BOOTSTRAP);
        let request = pb::CreateSiteRequest {
            domain: domain.to_owned(),
            owner: Some(pb::NewOwner {
                user_name: format!("owner@{domain}.example"),
                given_name: "Olivia".to_owned(),
                family_name: "Owner".to_owned(),
            }),
            ..Default::default()
        };
        let made = bootstrap
            .sites()
            .create_site(bootstrap.request(request))
            .await
            .unwrap();
        let (scim_token, _) = self.issue(domain, &[pb::Scope::Provision]).await;
        let (service_token, _) = self
            .issue(
                domain,
                &[pb::Scope::Read, pb::Scope::Write, pb::Scope::Administer],
            )
            .await;
        Site {
            id: made.into_inner().site.unwrap().id,
            domain: domain.to_owned(),
            scim: self.scim(domain, &format!("Bearer {scim_token}")),
            scim_token,
            rpc: Rpc {
                caller: self.caller(&service_token),
                site: None,
            },
            service_token,
        }
    }

    /// Makes the site `acme`, divided into `EU GmbH` and `US Inc`; without an entity a member reaches
    /// nothing.
    pub async fn acme(&self) -> Site {
        self.site("acme").await
    }

    /// Like [`World::acme`], of another domain.
    pub async fn site(&self, domain: &str) -> Site {
        let site = self.bare_site(domain).await;
        for name in ["EU GmbH", "US Inc"] {
            site.make_entity(name).await;
        }
        let caller = &site.rpc.caller;
        let request = pb::DivideSiteRequest {
            unassigned_reach: pb::Reach::None.into(),
            ..Default::default()
        };
        caller
            .sites()
            .divide_site(caller.request(request))
            .await
            .unwrap();
        site
    }
}

/// Whatever a test did: nothing personal and nothing secret may stand in what its services told.
impl Drop for World {
    fn drop(&mut self) {
        let logs = std::fs::read_dir(self.logs.path()).into_iter().flatten();
        let mut told: Vec<_> = logs
            .flatten()
            .filter_map(|log| {
                let name = log.file_name().to_string_lossy().into_owned();
                Some((name, std::fs::read(log.path()).ok()?))
            })
            .map(|(name, bytes)| (name, String::from_utf8_lossy(&bytes).into_owned()))
            .collect();
        for service in [&self.identity, &self.facade] {
            let metrics = service.metrics().unwrap_or_default();
            told.push((format!("metrics of {}", service.name()), metrics));
        }
        let mut found = canaries::in_spans();
        found.extend(told.iter().flat_map(|(of, text)| canaries::of(of, text)));
        if !found.is_empty() && !std::thread::panicking() {
            panic!("told, and must not be: {}", found.join("\n"));
        }
    }
}

impl Site {
    /// Makes a business entity; answers with its id.
    pub async fn make_entity(&self, name: &str) -> String {
        let caller = &self.rpc.caller;
        let entity = pb::BusinessEntity {
            name: name.to_owned(),
            ..Default::default()
        };
        let request = pb::CreateBusinessEntityRequest {
            business_entity: Some(entity),
            ..Default::default()
        };
        let answer = caller
            .business_entities()
            .create_business_entity(caller.request(request))
            .await;
        answer.unwrap().into_inner().business_entity.unwrap().id
    }

    /// Sets what becomes of groups outside the convention.
    pub async fn set_outside_groups(&self, outside_groups: pb::OutsideGroups) {
        let caller = &self.rpc.caller;
        let request = pb::UpdateSiteRequest {
            values: Some(pb::Site {
                outside_groups: outside_groups.into(),
                ..Default::default()
            }),
            update_mask: Some(prost_types::FieldMask {
                paths: vec!["outside_groups".to_owned()],
            }),
            ..Default::default()
        };
        caller
            .sites()
            .update_site(caller.request(request))
            .await
            .unwrap();
    }

    /// Makes a custom role; answers with its id.
    pub async fn make_role(&self, name: &str, permissions: &[&str]) -> String {
        let caller = &self.rpc.caller;
        let role = pb::Role {
            name: name.to_owned(),
            permissions: permissions.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        };
        let request = pb::CreateRoleRequest {
            role: Some(role),
            ..Default::default()
        };
        let answer = caller.roles().create_role(caller.request(request)).await;
        answer.unwrap().into_inner().role.unwrap().id
    }
}
