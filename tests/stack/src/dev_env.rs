//! `.roster/dev.env`: the facts of the running stack, as plain `NAME=value` lines that a shell, a
//! Makefile and a program can read alike.

use std::{collections::BTreeMap, fs, io, path::Path};

use anyhow::{Context, Result};

use crate::files::write_private;

/// The facts of a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DevEnv {
    /// `ROSTER_SCIM_URL`: the Site URL.
    pub scim_url: String,
    /// `ROSTER_SCIM_TOKEN`: the token that an identity provider would use.
    pub scim_token: String,
    /// `ROSTER_SITE_DOMAIN`: the demonstration site.
    pub site_domain: String,
    /// `ROSTER_GRPC_ADDR`: identity's host and port.
    pub grpc_addr: String,
    /// `ROSTER_SERVICE_TOKEN`: the token of a service that may do everything on the site.
    pub service_token: String,
    /// `ROSTER_BOOTSTRAP_TOKEN`: makes sites and administers credentials.
    pub bootstrap_token: String,
    /// `ROSTER_DATABASE_URL`: the database.
    pub database_url: String,
}

impl DevEnv {
    /// Reads the file; none where there is none. What it does not say is empty.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(Self::parse(&text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("{} can't be read", path.display())),
        }
    }

    /// Writes the file, whole or not at all, readable by its owner only.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_private(path, &self.to_text())
    }

    fn parse(text: &str) -> Self {
        let mut lines: BTreeMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .collect();
        let mut take = |name| lines.remove(name).unwrap_or_default().to_owned();
        Self {
            scim_url: take("ROSTER_SCIM_URL"),
            scim_token: take("ROSTER_SCIM_TOKEN"),
            site_domain: take("ROSTER_SITE_DOMAIN"),
            grpc_addr: take("ROSTER_GRPC_ADDR"),
            service_token: take("ROSTER_SERVICE_TOKEN"),
            bootstrap_token: take("ROSTER_BOOTSTRAP_TOKEN"),
            database_url: take("ROSTER_DATABASE_URL"),
        }
    }

    fn to_text(&self) -> String {
        let Self {
            scim_url,
            scim_token,
            site_domain,
            grpc_addr,
            service_token,
            bootstrap_token,
            database_url,
        } = self;
        format!(
            "ROSTER_SCIM_URL={scim_url}\n\
             ROSTER_SCIM_TOKEN={scim_token}\n\
             ROSTER_SITE_DOMAIN={site_domain}\n\
             ROSTER_GRPC_ADDR={grpc_addr}\n\
             ROSTER_SERVICE_TOKEN={service_token}\n\
             ROSTER_BOOTSTRAP_TOKEN={bootstrap_token}\n\
             ROSTER_DATABASE_URL={database_url}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let facts = DevEnv {
            scim_url: "http://127.0.0.1:8480/acme/scim/v2".to_owned(),
            scim_token: "roster_a_b".to_owned(),
            site_domain: "acme".to_owned(),
            grpc_addr: "127.0.0.1:8481".to_owned(),
            service_token: "roster_c_d".to_owned(),
            bootstrap_token: "x".repeat(43),
            database_url: "postgres://roster:p@127.0.0.1:5432/roster?options=-c%20a%3Db".to_owned(),
        };
        assert_eq!(DevEnv::parse(&facts.to_text()), facts);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dev.env");
        assert_eq!(DevEnv::read(&path).unwrap(), None);
        facts.write(&path).unwrap();
        assert_eq!(DevEnv::read(&path).unwrap(), Some(facts));
    }
}
