"""Both images, built here by buildah with the Dockerfile's own last stages. The builder's work is replaced by the
programs of this machine, of which `images/assemble` and `images/sbom` make what they would make of the builder's."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
# identity with TLS, as images have it.
PROGRAMS = {"identity": TARGET / "tls/debug/identity", "facade": TARGET / "debug/facade"}


def run(*command, **more):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **more)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@dataclass
class Image:
    """An image, and a copy of its root file system."""

    config: dict
    root: Path

    def files(self):
        return sorted(path for path in self.root.rglob("*") if not path.is_dir())

    def names(self):
        return {str(path.relative_to(self.root)) for path in self.files()}


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """What the builder leaves in /out."""
    out = tmp_path_factory.mktemp("out")
    run(ROOT / "images/sbom", out, cwd=ROOT)
    for name, program in PROGRAMS.items():
        run(ROOT / "images/assemble", program, out / name)
    return out


@pytest.fixture(scope="session")
def images(made, tmp_path_factory):
    storage = tmp_path_factory.mktemp("storage")
    places = ["--storage-driver", "vfs", "--root", storage / "root", "--runroot", storage / "run"]

    def buildah(*arguments, **more):
        return run("buildah", *places, *arguments, **more)

    dockerfile = "FROM scratch\nCOPY . /out\n"
    buildah("build", "--isolation", "chroot", "--file", "-", "--tag", "roster-test-builder", made, input=dockerfile)
    built = {}
    for name in PROGRAMS:
        buildah(
            *("build", "--isolation", "chroot", "--target", name, "--tag", f"roster-test-{name}"),
            *("--build-arg", "BUILDER=localhost/roster-test-builder", "--build-arg", "ROSTER_COMMIT=0123456789ab"),
            *("--build-context", "builder=container-image://localhost/roster-test-builder", ROOT),
        )
        config = json.loads(buildah("inspect", "--type", "image", f"roster-test-{name}"))["OCIv1"]["config"]
        container = buildah("from", f"roster-test-{name}").strip()
        mounted = Path(buildah("mount", container).strip())
        root = tmp_path_factory.mktemp(name)
        shutil.copytree(mounted, root, symlinks=True, dirs_exist_ok=True)
        buildah("umount", container)
        built[name] = Image(config, root)
    return built
