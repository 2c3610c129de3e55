"""What must hold of every pod, by itself. A rule yields a sentence for each thing that is wrong."""

import re

from conftest import K8S, ROOT
from objects import name_of


def images_are_pinned(objects):
    for pod in objects.pods():
        for container in pod.containers:
            image = container["image"]
            tag = image.rpartition("/")[2].partition(":")[2]
            if "@sha256:" not in image and not re.search(r"\d+\.\d+", tag):
                yield f"{pod.owner}: the image {image} has neither a digest nor a version"
    for cluster in objects.of("Cluster"):
        if not re.search(r"@sha256:|:\d+\.\d+", cluster["spec"].get("imageName", "")):
            yield f"{name_of(cluster)}: its image has neither a digest nor a version"


def pods_are_probed(objects):
    for pod in objects.pods():
        if pod.kind == "Job":
            continue
        for container in pod.containers:
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                asked = container.get(probe)
                if asked is None:
                    yield f"{pod.owner}: {container['name']} has no {probe}"
                    continue
                for way in ("httpGet", "tcpSocket"):
                    if way in asked and asked[way]["port"] not in pod.ports():
                        yield f"{pod.owner}: its {probe} asks at {asked[way]['port']}, which is no port of it"


def resources_are_bounded(objects):
    for pod in objects.pods():
        for container in pod.containers:
            resources = container.get("resources", {})
            for kind in ("requests", "limits"):
                for resource in ("cpu", "memory"):
                    if resource not in resources.get(kind, {}):
                        yield f"{pod.owner}: {container['name']} has no {resource} in its {kind}"


def pods_are_restricted(objects):
    """More than the restricted standard: the root file system can't be written, either."""
    for pod in objects.pods():
        spec = pod.spec
        for shared in ("hostNetwork", "hostPID", "hostIPC"):
            if spec.get(shared):
                yield f"{pod.owner}: {shared}"
        for volume in spec.get("volumes", []):
            if "hostPath" in volume:
                yield f"{pod.owner}: the volume {volume['name']} is a hostPath"
        context = spec.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
            yield f"{pod.owner}: may run as root"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{pod.owner}: has no seccomp profile"
        for container in pod.containers:
            own = container.get("securityContext", {})
            where = f"{pod.owner}: {container['name']}"
            if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
                yield f"{where} may gain privileges"
            if own.get("readOnlyRootFilesystem") is not True:
                yield f"{where} may write its root file system"
            if own.get("capabilities") != {"drop": ["ALL"]}:
                yield f"{where} keeps capabilities"
            if own.get("runAsNonRoot", True) is not True or own.get("runAsUser", 1) == 0:
                yield f"{where} may run as root"


def pods_have_no_token(objects):
    for account in objects.of("ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"{name_of(account)}: its token is mounted"
    for pod in objects.pods():
        if pod.spec.get("automountServiceAccountToken") is not False:
            yield f"{pod.owner}: a token is mounted"
        account = pod.spec.get("serviceAccountName")
        if account is not None and objects.find("ServiceAccount", account) is None:
            yield f"{pod.owner}: there is no ServiceAccount {account}"


def services_run_as_somebody_of_their_own(objects):
    ours = [pod.spec for pod in objects.pods() if "roster/" in pod.spec["containers"][0]["image"]]
    accounts = [spec.get("serviceAccountName") for spec in ours]
    if None in accounts or len(set(accounts)) != len(accounts):
        yield f"pods share a service account: {accounts}"


def drain_of(objects, name):
    """For how many seconds a process that was told to stop takes requests, and how many more it may work on them, by
    its code."""
    settings = objects.settings(objects.get("Deployment", name)["spec"]["template"]["spec"])
    source, constant = {
        "identity": ("services/identity/src/server.rs", "DRAIN"),
        "facade": ("facade/server/src/server.rs", "DRAIN_MARGIN"),
    }[name]
    written = re.search(rf"const {constant}: Duration = Duration::from_secs\((\d+)\);", (ROOT / source).read_text())
    drain = int(written[1])
    if name == "facade":
        drain += int(settings.get("ROSTER_BODY_TIMEOUT_MS", 20_000)) // 1000
        drain += int(settings.get("ROSTER_REQUEST_TIMEOUT_MS", 30_000)) // 1000
    return int(settings.get("ROSTER_DRAIN_DELAY_MS", 0)) // 1000, drain


# Seconds for the last spans, where the collector is away: OpenTelemetry's own bound.
LAST_SPANS = 5


def pods_end_in_time(objects):
    """Draining, the slowest request, and the last spans fit into the grace period."""
    for name in ("identity", "facade"):
        spec = objects.get("Deployment", name)["spec"]["template"]["spec"]
        delay, drain = drain_of(objects, name)
        if delay < 5:
            yield f"{name}: stops taking calls before everybody can know that it goes"
        if spec.get("terminationGracePeriodSeconds", 30) < delay + drain + LAST_SPANS:
            yield f"{name}: is killed before its last request may have ended"


def the_documents_tell_how_long_a_pod_takes_to_end(objects):
    drains = {name: drain_of(objects, name) for name in ("identity", "facade")}
    grace = {
        name: objects.get("Deployment", name)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        for name in drains
    }
    # Wherever their lines break.
    readme = " ".join((K8S / "README.md").read_text().split())
    operations = " ".join((ROOT / "docs" / "operations.md").read_text().split())
    sentences = {
        "k8s/README.md": (
            readme,
            f"at most {sum(drains['identity'])} seconds after the signal for identity and {sum(drains['facade'])} for "
            f"the facade, and {LAST_SPANS} more for the last spans where the collector is away, within the grace "
            f"periods of {grace['identity']} and {grace['facade']}",
        ),
        "docs/operations.md": (
            operations,
            f"identity within {drains['identity'][1]} seconds, the facade within {drains['facade'][1]} (",
        ),
    }
    for name, (delay, drain) in drains.items():
        sentences[f"k8s/base/{name}/deployment.yaml"] = (
            (K8S / "base" / name / "deployment.yaml").read_text(),
            f"# {delay} seconds of ROSTER_DRAIN_DELAY_MS, {drain} for the ",
        )
    for file, (text, sentence) in sentences.items():
        if sentence not in text:
            yield f"{file}: does not say \"{sentence}\""


def logs_are_of_one_form(objects):
    for pod in objects.pods():
        for container in pod.containers:
            if "roster/" in container["image"]:
                settings = objects.settings({"containers": [container]})
                if settings.get("ROSTER_LOG_FORMAT") != "json":
                    yield f"{pod.owner}: {container['name']} does not write its log as JSON"


def spans_name_their_pod(objects):
    """A span tells of which pod it is. `$(NAME)` is replaced only where NAME stands before it; the pod's own is read by
    nothing else."""
    for name in ("identity", "facade"):
        container = objects.get("Deployment", name)["spec"]["template"]["spec"]["containers"][0]
        made = None
        known = {}
        for variable in container.get("env", []):
            if "fieldRef" in variable.get("valueFrom", {}):
                known[variable["name"]] = variable["valueFrom"]["fieldRef"]["fieldPath"]
            elif variable["name"] == "OTEL_RESOURCE_ATTRIBUTES":
                made = re.sub(r"\$\((\w+)\)", lambda found: known.get(found[1], "?"), variable["value"])
        wanted = "k8s.pod.name=metadata.name,k8s.namespace.name=metadata.namespace,service.instance.id=metadata.uid"
        if made != wanted:
            yield f"{name}: its spans say that they are of {made}"


RULES = [
    spans_name_their_pod,
    images_are_pinned,
    pods_are_probed,
    resources_are_bounded,
    pods_are_restricted,
    pods_have_no_token,
    services_run_as_somebody_of_their_own,
    pods_end_in_time,
    the_documents_tell_how_long_a_pod_takes_to_end,
    logs_are_of_one_form,
]
