//! Installs the distribution's PostgreSQL where it may: as root, and without a cluster of its own.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;

use super::binaries::OLDEST;

/// Where Debian's packages read whether to make a cluster while they are installed.
const CREATE_CLUSTER: &str = "/etc/postgresql-common/createcluster.conf";
/// The file as Debian's package would have put it there.
const CREATE_CLUSTER_DEFAULT: &str = "/usr/share/postgresql-common/createcluster.conf";

/// What to do where nothing can be installed from here.
pub(super) fn advice() -> &'static str {
    match manager() {
        Some(Manager::Apt) => "install it (`apt-get install postgresql` as root)",
        Some(Manager::Dnf) => "install it (`dnf install postgresql-server` as root)",
        Some(Manager::Apk) => "install it (`apk add postgresql` as root)",
        None => "install it with your system's package manager",
    }
}

/// Installs the package; false where that is not possible or not allowed.
pub(super) fn install_package() -> Result<bool> {
    if !Uid::effective().is_root() {
        return Ok(false);
    }
    match manager() {
        Some(Manager::Apt) => apt()?,
        Some(Manager::Dnf) => {
            say("dnf install postgresql-server");
            run(Command::new("dnf").args(["install", "-y", "postgresql-server"]))?;
        }
        Some(Manager::Apk) => {
            say("apk add postgresql");
            run(Command::new("apk").args(["add", "--no-cache", "postgresql"]))?;
        }
        None => return Ok(false),
    }
    Ok(true)
}

enum Manager {
    Apt,
    Dnf,
    Apk,
}

fn manager() -> Option<Manager> {
    let has = |program: &str| {
        ["/usr/bin", "/sbin", "/usr/sbin", "/bin"]
            .iter()
            .any(|folder| Path::new(folder).join(program).is_file())
    };
    if has("apt-get") {
        Some(Manager::Apt)
    } else if has("dnf") {
        Some(Manager::Dnf)
    } else if has("apk") {
        Some(Manager::Apk)
    } else {
        None
    }
}

fn say(what: &str) {
    eprintln!("PostgreSQL: no server programs found; installing the distribution's ({what})");
}

/// Debian and those that follow it. Their package makes and starts a cluster unless told otherwise.
fn apt() -> Result<()> {
    let package = match newest_apt_package()? {
        Some(package) => package,
        None => {
            // A fresh container has no lists of packages.
            run(Command::new("apt-get").arg("update"))?;
            match newest_apt_package()? {
                Some(package) => package,
                None => bail!("this distribution has no PostgreSQL of version {OLDEST} or later"),
            }
        }
    };
    say(&format!("apt-get install {package}"));
    let before = tell_debian_to_make_no_cluster()?;
    let mut install = Command::new("apt-get");
    install
        .args(["install", "-y", "--no-install-recommends"])
        .args(["-o", "Dpkg::Options::=--force-confold"])
        .arg(&package)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("UCF_FORCE_CONFFOLD", "1");
    let mut outcome = run(&mut install);
    if outcome.is_err() {
        // The lists may be older than the mirror.
        outcome = run(Command::new("apt-get").arg("update")).and_then(|()| run(&mut install));
    }
    take_back_what_debian_was_told(before)?;
    outcome
}

/// The newest `postgresql-<major>` that apt knows and that will do.
fn newest_apt_package() -> Result<Option<String>> {
    let output = Command::new("apt-cache")
        .args(["search", "--names-only", "^postgresql-[0-9]+$"])
        .stdin(Stdio::null())
        .output()
        .context("apt-cache could not be run")?;
    Ok(newest_package(&String::from_utf8_lossy(&output.stdout)))
}

fn newest_package(listing: &str) -> Option<String> {
    let majors = listing.lines().filter_map(|line| {
        line.split_whitespace()
            .next()?
            .strip_prefix("postgresql-")?
            .parse::<u32>()
            .ok()
    });
    majors
        .filter(|major| *major >= OLDEST)
        .max()
        .map(|major| format!("postgresql-{major}"))
}

/// Answers what the file held before, for [`take_back_what_debian_was_told`].
fn tell_debian_to_make_no_cluster() -> Result<Option<Vec<u8>>> {
    let file = Path::new(CREATE_CLUSTER);
    let before = fs::read(file).ok();
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let mut told = before.clone().unwrap_or_default();
    told.extend_from_slice(b"\ncreate_main_cluster = false\n");
    fs::write(file, told).with_context(|| CREATE_CLUSTER.to_owned())?;
    Ok(before)
}

/// Leaves the file as it was, or as the package would have made it.
fn take_back_what_debian_was_told(before: Option<Vec<u8>>) -> Result<()> {
    match before {
        Some(before) => fs::write(CREATE_CLUSTER, before),
        None if Path::new(CREATE_CLUSTER_DEFAULT).is_file() => {
            // The package's own, which it put aside.
            fs::remove_file(format!("{CREATE_CLUSTER}.ucf-dist")).ok();
            fs::copy(CREATE_CLUSTER_DEFAULT, CREATE_CLUSTER).map(drop)
        }
        None => fs::remove_file(CREATE_CLUSTER),
    }
    .with_context(|| CREATE_CLUSTER.to_owned())
}

/// Runs a package manager; what it said last is told only where it failed.
fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{name} could not be run"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let last: Vec<_> = text.lines().rev().take(5).collect();
        bail!(
            "{name} failed: {}",
            last.into_iter().rev().collect::<Vec<_>>().join("\n")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_package_that_will_do_is_chosen() {
        let listing = "postgresql-13 - old\npostgresql-15 - The World's\npostgresql-17 - newer\n";
        assert_eq!(newest_package(listing).as_deref(), Some("postgresql-17"));
        assert_eq!(newest_package("postgresql-14 - old\n"), None);
        assert_eq!(newest_package(""), None);
    }
}
