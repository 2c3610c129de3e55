"""What must hold of every pod, by itself. A rule yields a sentence for each thing that is wrong."""

import re

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
    accounts = [pod.spec.get("serviceAccountName") for pod in objects.pods() if "roster/" in pod.spec["containers"][0]["image"]]
    if None in accounts or len(set(accounts)) != len(accounts):
        yield f"pods share a service account: {accounts}"


def pods_end_in_time(objects):
    """Draining, the slowest request, and a margin fit into the grace period."""
    for name, longest in (("identity", 25_000), ("facade", 7_000)):
        spec = objects.get("Deployment", name)["spec"]["template"]["spec"]
        settings = objects.settings(spec)
        delay = int(settings.get("ROSTER_DRAIN_DELAY_MS", 0))
        if delay < 5_000:
            yield f"{name}: stops taking calls before everybody can know that it goes"
        longest += delay
        if name == "facade":
            longest += int(settings.get("ROSTER_BODY_TIMEOUT_MS", 20_000))
            longest += int(settings.get("ROSTER_REQUEST_TIMEOUT_MS", 30_000))
        if spec.get("terminationGracePeriodSeconds", 30) * 1000 < longest + 5_000:
            yield f"{name}: is killed before its last request may have ended"


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
]
