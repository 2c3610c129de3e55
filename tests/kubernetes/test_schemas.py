"""Every object is what the API server takes, unknown fields refused: at the oldest and the newest version of
Kubernetes that is supported, and by the schemas of the operators."""

import copy
import json
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
from conftest import K8S, OVERLAYS, built
from objects import name_of

OLDEST, NEWEST = "1.33", "1.37"
CUSTOM = ("cert-manager.io/", "monitoring.coreos.com/", "postgresql.cnpg.io/")


def is_custom(one):
    return one["apiVersion"].startswith(CUSTOM)


def complaints(objects):
    """What the operators' schemas say about each of the objects."""
    check = Path(__file__).parent / "custom" / "check.mjs"
    done = subprocess.run(["node", check], input=json.dumps(objects), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_takes_every_object(overlay, version):
    native = [one for one in overlay.all if not is_custom(one)]
    assert len(native) > 10
    for one in native:
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_an_unknown_field_is_refused(version):
    one = copy.deepcopy(built("production").get("Deployment", "identity"))
    one["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(one, version, strict=True)


def test_the_operators_take_every_custom_resource():
    custom = {json.dumps(one): one for name in OVERLAYS for one in built(name).all if is_custom(one)}
    custom = list(custom.values())
    assert {one["kind"] for one in custom} >= {"Certificate", "Issuer", "ServiceMonitor", "Cluster"}
    found = [f"{name_of(one)}: {said}" for one, said in zip(custom, complaints(custom), strict=True) if said]
    assert found == []


def test_a_custom_resource_with_a_mistake_is_refused():
    bad = []
    for kind, name, change in [
        ("Certificate", "identity", {"dnsName": ["identity"]}),
        ("Certificate", "identity", {"usages": ["serve"]}),
        ("ServiceMonitor", "identity", {"endpoints": [{"port": 8491}]}),
        ("Cluster", "roster-database", {"instances": 0}),
        ("Cluster", "roster-database", {"postgresql": {"synchronous": {"method": "all", "number": 1}}}),
    ]:
        one = copy.deepcopy(built("production-cnpg").get(kind, name))
        one["spec"] |= change
        bad.append(one)
    bad.append({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "thing"}})
    assert [len(said) > 0 for said in complaints(bad)] == [True] * len(bad)


def test_the_readme_names_the_versions_that_are_checked():
    text = (K8S / "README.md").read_text()
    assert f"Kubernetes {OLDEST} to {NEWEST}" in text
