//! The account that the PostgreSQL server runs as: PostgreSQL refuses to run as root.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail};
use nix::unistd::{Uid, User};

/// Which account runs the server's programs.
#[derive(Clone, Debug)]
pub(super) enum Account {
    /// The one that this process has.
    Own,
    /// Another one, as this process is root.
    Other {
        /// Its user id.
        uid: u32,
        /// Its main group's id.
        gid: u32,
    },
}

impl Account {
    /// For root, the system's `postgres` or else `nobody`; the own account for everyone else.
    pub(super) fn choose() -> Result<Self> {
        if !Uid::effective().is_root() {
            return Ok(Self::Own);
        }
        for name in ["postgres", "nobody"] {
            let user = User::from_name(name).context("the system's accounts can't be read")?;
            if let Some(user) = user {
                return Ok(Self::Other {
                    uid: user.uid.as_raw(),
                    gid: user.gid.as_raw(),
                });
            }
        }
        bail!(
            "PostgreSQL can't run as root, and there is neither an account `postgres` nor `nobody`"
        )
    }

    /// The account that a cluster was made with: for root, whoever owns its data.
    pub(super) fn owner_of(data: &Path) -> Result<Self> {
        if !Uid::effective().is_root() {
            return Ok(Self::Own);
        }
        let metadata = fs::metadata(data).with_context(|| data.display().to_string())?;
        if metadata.uid() == 0 {
            bail!(
                "{} belongs to root, as whom PostgreSQL can't run",
                data.display()
            );
        }
        Ok(Self::Other {
            uid: metadata.uid(),
            gid: metadata.gid(),
        })
    }

    /// A command that runs as this account, in a folder that everyone can enter, and without settings
    /// of PostgreSQL's from the environment.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("PG") || name.starts_with("LC_") || name == "LANG" {
                command.env_remove(name.as_ref());
            }
        }
        command.env("LC_ALL", "C").current_dir("/");
        if let Self::Other { uid, gid } = self {
            command.uid(*uid).gid(*gid);
        }
        command
    }

    /// Gives a file or folder to this account.
    pub(super) fn own(&self, path: &Path) -> Result<()> {
        if let Self::Other { uid, gid } = self {
            chown(path, Some(*uid), Some(*gid))
                .with_context(|| format!("{} can't be given to another user", path.display()))?;
        }
        Ok(())
    }

    /// Whether this account can reach what lies in the folder.
    pub(super) fn can_enter(&self, folder: &Path) -> bool {
        match self {
            Self::Own => true,
            Self::Other { uid, gid } => folder.ancestors().all(|ancestor| {
                fs::metadata(ancestor).is_ok_and(|metadata| {
                    let mode = metadata.permissions().mode();
                    (mode & 0o001 != 0)
                        || (metadata.uid() == *uid && mode & 0o100 != 0)
                        || (metadata.gid() == *gid && mode & 0o010 != 0)
                })
            }),
        }
    }
}
