"""What can be read off the Dockerfile."""

import re
import subprocess
import tomllib

from conftest import ROOT, run

LINES = [line for line in (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines() if line[:1].isalpha()]


def test_it_starts_from_nothing_but_the_pinned_builder():
    sources = [line.split()[1] for line in LINES if line.startswith("FROM ")]
    assert sources == ["${BUILDER}", "scratch", "scratch"]
    # No default: it comes from images/builder, or not at all.
    assert "ARG BUILDER" in LINES


def test_it_fetches_nothing_by_itself():
    assert not [line for line in LINES if line.startswith("ADD ")]
    for line in LINES:
        if line.startswith("RUN "):
            assert not re.search(r"\b(curl|wget|apt|apt-get|git)\b", line), line


def test_each_image_runs_as_somebody_without_rights():
    users = [line for line in LINES if line.startswith("USER ")]
    assert users == ["USER 65532:65532"] * 2


def test_a_builder_without_a_digest_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("build", "builder"):
        (tmp_path / "images" / name).write_text((ROOT / "images" / name).read_text())
    tag = (tmp_path / "images/builder").read_text().partition("@")[0].strip()
    for bad in (tag, f"{tag}@sha256:0123", "docker.io/library/rust:latest"):
        (tmp_path / "images/builder").write_text(bad + "\n")
        # The tool is never called: `false` would fail without a word.
        done = subprocess.run(["sh", tmp_path / "images/build", "false"], capture_output=True, text=True)
        assert done.returncode == 1
        assert "without a digest" in done.stderr


def test_the_builder_has_a_rust_that_the_workspace_takes():
    named = re.fullmatch(
        r"docker\.io/library/rust:(\d+)\.(\d+)\.\d+-trixie(@sha256:[0-9a-f]{64})?\n", (ROOT / "images/builder").read_text()
    )
    wanted = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["rust-version"]
    assert (int(named[1]), int(named[2])) >= tuple(int(part) for part in wanted.split("."))


def test_all_that_the_build_needs_goes_to_the_builder_and_nothing_else():
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    members = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]
    assert {member.split("/")[0] for member in members} | {"Cargo.toml", "Cargo.lock", "migrations", "images"} <= set(kept)
    assert run("git", "ls-files", "--others", "--ignored", "--exclude-standard", "--directory", *kept, cwd=ROOT) in (
        "",
        "tests/kubernetes/custom/node_modules/\n",
    )
