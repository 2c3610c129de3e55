"""What is in the images, and that it runs there: as nobody, on a file system that can't be written."""

import json
import os
import re
import socket
import stat
import subprocess
import time
import tomllib
import urllib.error
import urllib.request

import pytest
from conftest import PROGRAMS, ROOT, run

LIBRARY = r"(usr/)?lib(64)?/([a-z0-9_-]+-linux-gnu[a-z]*/)?(ld-linux[a-z0-9_.-]*|libc|libm|libgcc_s)\.so\.\d+"
RECORD = r"var/lib/dpkg/status\.d/(libc6|libgcc-s1|ca-certificates)"
OTHERS = {
    "etc/group",
    "etc/nsswitch.conf",
    "etc/os-release",
    "etc/passwd",
    "etc/ssl/certs/ca-certificates.crt",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_image_holds_its_program_and_what_that_needs(images, name):
    """So no shell, no package manager, no tool."""
    rest = images[name].names() - OTHERS - {name, f"{name}.cdx.json"}
    unexpected = {one for one in rest if not re.fullmatch(f"{LIBRARY}|{RECORD}", one)}
    assert unexpected == set()
    assert images[name].names() >= OTHERS | {name}
    # Each library is one of a package that is recorded.
    assert sum(one.startswith("var/") for one in rest) == 3


@pytest.mark.parametrize("name", PROGRAMS)
def test_nobody_but_root_may_write_in_it(images, name):
    for path in [*images[name].files(), *(one for one in images[name].root.rglob("*") if one.is_dir())]:
        known = path.lstat()
        assert (known.st_uid, known.st_gid) == (0, 0), path
        assert known.st_mode & (stat.S_IWGRP | stat.S_IWOTH | stat.S_ISUID | stat.S_ISGID) == 0, path


@pytest.mark.parametrize(("name", "command"), [("identity", ["serve"]), ("facade", None)])
def test_an_image_runs_its_program_without_rights(images, name, command):
    config = images[name].config
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == [f"/{name}"]
    assert config.get("Cmd") == command
    assert config["Labels"]["org.opencontainers.image.revision"] == "0123456789ab"
    # No setting, so no secret either, stands in the image.
    assert {variable.partition("=")[0] for variable in config.get("Env", [])} <= {"PATH"}


class Container:
    """A program of an image, in its root file system, which it can't write, under its user and nothing else."""

    def __init__(self, image, *arguments, **settings):
        # What every container runtime brings.
        for file in ("hosts", "resolv.conf"):
            (image.root / "etc" / file).write_text(open(f"/etc/{file}").read())
        # `mount` before there is another root; `env` starts the program with its settings alone.
        enter = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec setpriv --no-new-privs "$@"'
        chroot = ["chroot", f"--userspec={image.config['User']}", "--groups=", image.root]
        variables = [f"{key}={value}" for key, value in settings.items()]
        self.command = ["unshare", "--mount", "sh", "-c", enter, image.root, "--bounding-set=-all,+sys_chroot,+setuid,+setgid"]
        self.command += [*chroot, *image.config["Entrypoint"], *arguments]
        self.environment = dict(one.split("=", 1) for one in variables) | {"PATH": os.environ["PATH"]}

    def done(self):
        return subprocess.run(self.command, env=self.environment, capture_output=True, text=True, timeout=60)

    def started(self):
        return subprocess.Popen(self.command, env=self.environment, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_says_its_version(images, name):
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    done = Container(images[name], "--version").done()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{name} {version}")


def test_names_are_found_and_tls_is_there(images):
    """libpq says another thing about a name that it can't find, and about `sslmode` without TLS."""
    url = f"postgres://roster@localhost:{free_port()}/roster?sslmode=verify-full&sslrootcert=system"
    done = Container(images["identity"], "migrate", DATABASE_URL=url).done()
    assert done.returncode != 0
    assert "refused" in done.stderr.lower(), done.stderr


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def status(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_serves(images, name):
    admin = free_port()
    settings = {
        f"ROSTER_{name.upper()}_LISTEN": f"127.0.0.1:{free_port()}",
        f"ROSTER_{name.upper()}_ADMIN_LISTEN": f"127.0.0.1:{admin}",
        "ROSTER_IDENTITY_URL": f"http://localhost:{free_port()}",
        "DATABASE_URL": f"postgres://roster@127.0.0.1:{free_port()}/roster",
    }
    process = Container(images[name], *(images[name].config.get("Cmd") or []), **settings).started()
    try:
        patience = time.monotonic() + 20
        while status(admin, "/livez") != 200:
            assert process.poll() is None and time.monotonic() < patience
            time.sleep(0.05)
        known = dict(line.split(":\t") for line in open(f"/proc/{process.pid}/status").read().splitlines() if ":\t" in line)
        assert known["Uid"].split() == ["65532"] * 4
        assert known["Groups"].split() == []
        assert int(known["CapEff"], 16) == 0
    finally:
        # SIGTERM ends it in order, as process 1 or not.
        process.terminate()
        assert process.wait(timeout=30) == 0


def test_the_bill_of_materials_is_what_the_lock_file_says(made):
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    versions = {(one["name"], one["version"]) for one in locked}
    for name, needed in {
        # The C libraries are crates: their versions decide what a scanner finds.
        "identity": {"openssl-src", "pq-src", "diesel", "tonic", "tokio"},
        "facade": {"axum", "hyper", "tonic", "tokio"},
    }.items():
        bill = json.loads((made / name / f"{name}.cdx.json").read_text())
        assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
        assert bill["metadata"]["component"]["name"] == name
        listed = {(one["name"], one["version"]) for one in bill["components"]}
        assert listed - versions == set()
        assert needed <= {component for component, _ in listed}
        assert all(one["purl"].startswith("pkg:cargo/") for one in bill["components"])


def test_the_work_tree_is_left_as_it_was(made):
    assert run("git", "ls-files", "--others", "--ignored", "--exclude-standard", "*.cdx.json", cwd=ROOT) == ""
