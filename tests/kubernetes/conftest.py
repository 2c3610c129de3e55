"""What the checks stand on: the overlays as kustomize builds them, and the programs."""

import functools
import os
import subprocess
from pathlib import Path

import pytest
from objects import Objects

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
OVERLAYS = sorted(folder.name for folder in (K8S / "overlays").iterdir())
PRODUCTION = [name for name in OVERLAYS if name.startswith("production")]


@functools.cache
def built(overlay):
    command = [os.environ["KUSTOMIZE"], "build", K8S / "overlays" / overlay]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # A warning is a construct that the next version may refuse.
    assert done.stderr == ""
    return Objects.read(done.stdout)


@pytest.fixture(params=OVERLAYS)
def overlay(request):
    """Each overlay's objects in turn."""
    return built(request.param).copy()


@pytest.fixture(params=PRODUCTION)
def production(request):
    """The objects of each overlay that is meant to carry load."""
    return built(request.param).copy()


@functools.cache
def program(name):
    folder = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return folder / "debug" / name


@functools.cache
def help_of(name, *arguments):
    done = subprocess.run([program(name), *arguments, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
