"""What the manifests say about the programs is what the programs say themselves."""

import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
from conftest import K8S, OVERLAYS, built, help_of, program

# What the containers run, one after the other, and the settings that libpq reads, of which the programs' help knows
# nothing.
COMMANDS = {
    ("Deployment", "identity"): ("identity", "serve"),
    ("Deployment", "facade"): ("facade",),
}
LIBPQ = {"PGSSLMODE", "PGSSLROOTCERT"}


def spec(objects, kind, name):
    return objects.get(kind, name)["spec"]["template"]["spec"]


def variables(*command):
    """The variables that a program knows, with their defaults."""
    said = help_of(*command)
    if command[0] == "identity":
        # Those of logs and traces stand before the subcommand.
        said += help_of("identity")
    said = re.sub(r"\s+", " ", said)
    known = {}
    for name, default in re.findall(r"\[env: ([A-Z_]+)=?[^]]*\](?: \[default: ([^]]*)\])?", said):
        known[name] = default
    return known


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_variable_is_one_of_the_program(name):
    objects = built(name)
    commands = {
        **{made: [command] for made, command in COMMANDS.items()},
        ("Job", "migration"): [("identity", "migrate")],
    }
    if name.endswith("-restored"):
        commands["Job", "migration"].append(("identity", "restored"))
    for made, expected in commands.items():
        pod = spec(objects, *made)
        containers = pod.get("initContainers", []) + pod["containers"]
        assert [tuple(one.get("args", [])) for one in containers] == [command[1:] for command in expected]
        for container, command in zip(containers, expected, strict=True):
            assert f"roster/{command[0]}:" in container["image"]
            unknown = set(objects.settings({"containers": [container]})) - set(variables(*command))
            assert unknown - (LIBPQ if command[0] == "identity" else set()) == set()


def test_the_readme_administers_with_what_rosterctl_knows():
    _, text = (K8S / "README.md").read_text().split("\n## Administer\n")
    text, _, _ = text.partition("\n## ")
    known = set(variables("rosterctl")) | {"ROSTER_TOKEN", "ROSTER_BOOTSTRAP_TOKEN"}
    named = set(re.findall(r"\bROSTER_[A-Z_]+", text))
    assert "ROSTER_TLS_SERVER_NAME" in named
    assert named - known == set()


def test_a_variable_that_is_none_is_noticed():
    assert "ROSTER_DB_POOL" in variables("identity", "serve")
    assert "ROSTER_LOG_FORMAT" in variables("identity", "serve")
    assert "ROSTER_DB_POOL" not in variables("facade")


@pytest.mark.parametrize(
    ("name", "ports"),
    [
        ("identity", {"grpc": "ROSTER_IDENTITY_LISTEN", "admin": "ROSTER_IDENTITY_ADMIN_LISTEN"}),
        ("facade", {"http": "ROSTER_FACADE_LISTEN", "admin": "ROSTER_FACADE_ADMIN_LISTEN"}),
    ],
)
def test_every_port_is_where_the_program_listens(overlay, name, ports):
    pod = spec(overlay, "Deployment", name)
    known = variables(*COMMANDS["Deployment", name])
    settings = overlay.settings(pod)
    declared = {port["name"]: port["containerPort"] for port in pod["containers"][0]["ports"]}
    assert declared == {port: int(settings[variable].rpartition(":")[2]) for port, variable in ports.items()}
    # Those that every document names.
    assert declared == {port: int(known[variable].rpartition(":")[2]) for port, variable in ports.items()}
    # From outside of the pod.
    assert {settings[variable].rpartition(":")[0] for variable in ports.values()} == {"0.0.0.0"}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def running(name, settings, admin):
    """The program with these settings and nothing else; waits until its admin port answers."""
    process = subprocess.Popen(
        [program(name), *COMMANDS["Deployment", name][1:]],
        env=settings,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        patience = time.monotonic() + 20
        while status(admin, "/livez") is None:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < patience, "it does not answer"
            time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.communicate()


def status(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


@pytest.mark.parametrize("name", ["identity", "facade"])
def test_the_program_starts_with_the_settings_and_answers_what_it_is_asked(overlay, name):
    pod = spec(overlay, "Deployment", name)
    settings = overlay.settings(pod)
    ports = {"admin": free_port(), "serving": free_port()}
    started = {}
    for variable, value in settings.items():
        if isinstance(value, tuple):
            # From a secret. The database does not answer: that must not keep the process from living.
            known = {"DATABASE_URL": f"postgres://roster@127.0.0.1:{free_port()}/roster?sslmode=disable"}
            value = known.get(variable)
        elif variable.endswith("_LISTEN"):
            value = f"127.0.0.1:{ports['admin' if 'ADMIN' in variable else 'serving']}"
        elif value.startswith("/"):
            # A file of a certificate; tests/it/tls_grpc.rs is about those.
            value = None
        elif variable == "ROSTER_IDENTITY_URL":
            value = value.replace("https:", "http:")
        if value is not None:
            started[variable] = value
    container = pod["containers"][0]
    with running(name, started, ports["admin"]):
        for probe in ("startupProbe", "livenessProbe"):
            assert status(ports["admin"], container[probe]["httpGet"]["path"]) == 200
        # Neither is ready before it has what it needs: identity its database, the facade identity, which it has to have
        # reached once.
        assert status(ports["admin"], container["readinessProbe"]["httpGet"]["path"]) == 503
        assert status(ports["admin"], "/none") == 404
        monitor = overlay.find("ServiceMonitor", name)
        if monitor is not None:
            for endpoint in monitor["spec"]["endpoints"]:
                assert status(ports["admin"], endpoint["path"]) == 200
        with socket.create_connection(("127.0.0.1", ports["serving"]), timeout=5):
            pass


def test_a_setting_out_of_bounds_would_be_noticed():
    objects = built("production")
    settings = objects.settings(spec(objects, "Deployment", "facade")) | {"ROSTER_TRACE_RATIO": "2"}
    text = {name: value for name, value in settings.items() if not value.startswith("/")}
    with pytest.raises(AssertionError, match="ROSTER_TRACE_RATIO|trace-ratio"), running("facade", text, free_port()):
        pass
