//! Finds PostgreSQL's server programs: on the PATH and where the distributions keep them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Result, bail};

use super::{account::Account, install};

/// The oldest major version that will do.
pub(super) const OLDEST: u32 = 15;

/// Where PostgreSQL's server programs may be. A `*` stands for any ending or name.
const FOLDERS: &[&str] = &[
    "/usr/lib/postgresql/*/bin",
    "/usr/lib/postgresql*/bin",
    "/usr/lib64/postgresql*/bin",
    "/usr/lib64/pgsql/bin",
    "/usr/libexec/postgresql*",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/usr/local/lib/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
    "/opt/local/lib/postgresql*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
];

/// Where one version's server programs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binaries {
    folder: PathBuf,
    /// The major version.
    pub(super) major: u32,
}

impl Binaries {
    /// One of the other programs that come with the server, which need not be linked beside it.
    pub(super) fn tool(&self, name: &str) -> PathBuf {
        let target = fs::canonicalize(self.postgres()).ok();
        let beside_target = target.and_then(|target| Some(target.parent()?.join(name)));
        match beside_target {
            Some(program) if program.is_file() => program,
            _ => self.folder.join(name),
        }
    }

    /// The server.
    pub(super) fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    /// The program that makes a cluster.
    pub(super) fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }

    /// Finds server programs, or installs them where that is allowed. A cluster that exists runs with
    /// the major version that made it only.
    pub(super) fn find(account: &Account, cluster_major: Option<u32>) -> Result<Self> {
        let mut found = search(account);
        if let Some(binaries) = choose(&found, cluster_major) {
            return Ok(binaries);
        }
        if let Some(major) = cluster_major
            && !found.is_empty()
        {
            found.dedup_by_key(|binaries| binaries.major);
            let others: Vec<_> = found
                .iter()
                .map(|binaries| binaries.major.to_string())
                .collect();
            bail!(
                "this cluster was made by PostgreSQL {major}, which is not installed any more; found \
                 only {}",
                others.join(", ")
            );
        }
        if install::install_package()? {
            found = search(account);
        }
        match choose(&found, cluster_major) {
            Some(binaries) => Ok(binaries),
            None => bail!(
                "no PostgreSQL server of version {OLDEST} or later was found{}: {}, or name a server \
                 with DATABASE_URL",
                match found.as_slice() {
                    [] => String::new(),
                    [binaries, ..] => format!(", only {}", binaries.major),
                },
                install::advice()
            ),
        }
    }
}

/// The version that the cluster needs; for a new cluster, what stands first on the PATH, or else the
/// newest.
fn choose(found: &[Binaries], cluster_major: Option<u32>) -> Option<Binaries> {
    found
        .iter()
        .find(|binaries| match cluster_major {
            Some(major) => binaries.major == major,
            None => binaries.major >= OLDEST,
        })
        .cloned()
}

/// Everything that is there and that the account can run: the PATH first, then the newest first.
fn search(account: &Account) -> Vec<Binaries> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<Binaries> = env::split_paths(&path)
        .filter_map(|folder| probe(account, &folder))
        .collect();
    let mut usual: Vec<Binaries> = FOLDERS
        .iter()
        .flat_map(|pattern| expand(pattern))
        .filter_map(|folder| probe(account, &folder))
        .collect();
    usual.sort_by_key(|binaries| std::cmp::Reverse(binaries.major));
    found.extend(usual);
    found
}

/// The server programs of a folder, if it has them and the account can run them.
fn probe(account: &Account, folder: &Path) -> Option<Binaries> {
    let postgres = folder.join("postgres");
    if !postgres.is_file() {
        return None;
    }
    // initdb looks for its own neighbours, so that a lone link on the PATH is followed to its target.
    let folder = match folder.join("initdb").is_file() {
        true => folder.to_owned(),
        false => fs::canonicalize(&postgres).ok()?.parent()?.to_owned(),
    };
    let initdb = folder.join("initdb");
    let runs = |program: &Path| {
        let output = account
            .command(program)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        major_version(&String::from_utf8_lossy(&output.stdout))
    };
    let major = runs(&folder.join("postgres"))?;
    (runs(&initdb)? == major).then_some(Binaries { folder, major })
}

/// The major version in `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn major_version(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("(PostgreSQL) ")?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The folders that a pattern names; a `*` stands in one part of it at the most.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![PathBuf::from(pattern)];
    };
    let Some((parent, start)) = before.rsplit_once('/') else {
        return Vec::new();
    };
    let after = after.trim_start_matches('/');
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(start))
        .map(|entry| entry.path().join(after))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_distributions_write_them() {
        let debian = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(major_version(debian), Some(15));
        assert_eq!(major_version("initdb (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major_version("postgres (PostgreSQL) 9.6.24"), Some(9));
        assert_eq!(major_version("something else 3"), None);
    }

    #[test]
    fn patterns_name_folders() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("postgresql/15/bin")).unwrap();
        fs::create_dir_all(root.path().join("postgresql/17/bin")).unwrap();
        let pattern = format!("{}/postgresql/*/bin", root.path().display());
        let mut found = expand(&pattern);
        found.sort();
        assert_eq!(found.len(), 2);
        assert!(found[0].ends_with("15/bin"));
        let pattern = format!("{}/postgresql*", root.path().display());
        assert!(expand(&pattern)[0].ends_with("postgresql"));
        assert!(expand("/nowhere/at/all/*").is_empty());
    }

    #[test]
    fn a_cluster_keeps_its_major_version() {
        let of = |major| Binaries {
            folder: PathBuf::from(format!("/{major}")),
            major,
        };
        let found = [of(14), of(17), of(15)];
        assert_eq!(choose(&found, None), Some(of(17)));
        assert_eq!(choose(&found, Some(15)), Some(of(15)));
        assert_eq!(choose(&found, Some(16)), None);
    }
}
