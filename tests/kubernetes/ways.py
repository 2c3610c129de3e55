"""Which ways pods need, by their settings and by what calls them, and that these are open. A rule yields a sentence for
each thing that is wrong."""

import base64
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import yaml
from objects import name_of, namespace_of, rules_of, selects


@dataclass
class End:
    """One end of a way: pods, by what policies know them by, or what is outside of the cluster (no namespace)."""

    name: str
    namespace: str | None
    labels: dict
    # By name and by number.
    ports: dict = field(default_factory=dict)
    # Of its namespace, beside the name.
    namespace_labels: dict = field(default_factory=dict)


# What is somebody else's, as k8s/README.md has it, in "What has to be there" and "Who may reach whom".
DNS = End("DNS", "kube-system", {"k8s-app": "kube-dns"})
PROMETHEUS = End("Prometheus", "monitoring", {"app.kubernetes.io/name": "prometheus"})
OPERATOR = End("CloudNativePG", "cnpg-system", {"app.kubernetes.io/name": "cloudnative-pg"})
INTERNAL = End("an internal service", "somewhere", {}, namespace_labels={"roster-identity-client": "true"})
# The ports of the pods that CloudNativePG makes.
OF_THE_DATABASE = {"postgresql": 5432, "status": 8000, "metrics": 9187}


def ends(objects):
    """The pods that there are."""
    known = {pod.owner: pod.ports() for pod in objects.pods()}
    return [
        End(owner, namespace, labels, known.get(owner, OF_THE_DATABASE))
        for owner, namespace, labels in objects.selectable()
    ]


def own_namespaces(objects):
    return {one["metadata"]["name"] for one in objects.of("Namespace")}


def of_service(objects, service, wanted):
    """The pods behind a Service's port, by its number or name, each with its own port."""
    selector = {"matchLabels": service["spec"]["selector"]}
    behind = [end for end in ends(objects) if end.namespace == namespace_of(service) and selects(selector, end.labels)]
    for port in service["spec"]["ports"]:
        if wanted in (port["port"], port.get("name")):
            for end in behind:
                yield end, end.ports.get(port.get("targetPort", port["port"])), "TCP"


def at_address(objects, source, host, port):
    """The pods that a name leads to: those of the Service here, or somebody else's that are labelled by its name."""
    name, _, rest = host.partition(".")
    namespace = rest.partition(".")[0] or source.namespace
    if namespace not in own_namespaces(objects):
        return [(End(host, namespace, {"app.kubernetes.io/name": name}), port, "TCP")]
    service = objects.find("Service", name)
    if service is None or namespace_of(service) != namespace:
        return []
    return list(of_service(objects, service, port))


def at_database(objects, source, secret, key):
    """Where a secret's URL leads to: an operator's instances, a Service here, or out of the cluster."""
    for cluster in objects.of("Cluster"):
        if secret == cluster["metadata"]["name"] + "-app":
            return [(end, 5432, "TCP") for end in ends(objects) if end.name == name_of(cluster)]
    known = objects.find("Secret", secret)
    if known is not None:
        url = urlsplit(base64.b64decode(known["data"][key]).decode())
        return at_address(objects, source, url.hostname, url.port)
    return [(End("a database outside", None, {}), 5432, "TCP")]


def calls(objects):
    """What the pods call by their settings: the pod, the setting, and whom it leads to."""
    here = {end.name: end for end in ends(objects)}
    for pod in objects.pods():
        source, settings = here[pod.owner], objects.settings(pod.spec)
        for variable in ("ROSTER_IDENTITY_URL", "OTEL_EXPORTER_OTLP_ENDPOINT"):
            if settings.get(variable):
                url = urlsplit(settings[variable])
                yield source, f"{variable} {url.geturl()}", at_address(objects, source, url.hostname, url.port)
        if "DATABASE_URL" in settings:
            yield source, "DATABASE_URL", at_database(objects, source, *settings["DATABASE_URL"])
        for exporter in collector_config(objects, pod).get("exporters", {}).values():
            host, _, port = exporter["endpoint"].rpartition(":")
            yield source, f"the exporter's {host}", at_address(objects, source, host, int(port))


def collector_config(objects, pod):
    """The configuration that an OpenTelemetry collector is given; empty for any other pod."""
    for volume in pod.spec.get("volumes", []):
        one = objects.find("ConfigMap", volume.get("configMap", {}).get("name"))
        if one is not None and "config.yaml" in one.get("data", {}):
            return yaml.safe_load(one["data"]["config.yaml"])
    return {}


def needed_ways(objects):
    """Who has to reach whom: the source, what says so, and each target with its port and protocol."""
    called = list(calls(objects))
    yield from called
    here = ends(objects)
    databases = [end for end in here for cluster in objects.of("Cluster") if end.name == name_of(cluster)]
    # Who calls by a name has to ask for its address.
    for source in {end.name: end for end in [source for source, _, _ in called] + databases}.values():
        yield source, "names", [(DNS, 53, "UDP"), (DNS, 53, "TCP")]
    for database in databases:
        yield OPERATOR, "its instances", [(database, 5432, "TCP"), (database, 8000, "TCP")]
        yield database, "its state", [(End("the API server", None, {}), port, "TCP") for port in (443, 6443)]
    for service in objects.of("Service"):
        if service["metadata"]["name"] == "identity":
            yield INTERNAL, "identity", list(of_service(objects, service, "grpc"))
    for monitor in objects.of("ServiceMonitor"):
        for service in objects.of("Service"):
            if namespace_of(service) == namespace_of(monitor) and selects(
                monitor["spec"]["selector"], service["metadata"].get("labels", {})
            ):
                for endpoint in monitor["spec"]["endpoints"]:
                    yield PROMETHEUS, name_of(monitor), list(of_service(objects, service, endpoint["port"]))
    for monitor in objects.of("PodMonitor"):
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            behind = [end for end in here if end.namespace == namespace_of(monitor)]
            behind = [end for end in behind if selects(monitor["spec"]["selector"], end.labels)]
            yield PROMETHEUS, name_of(monitor), [(end, end.ports.get(endpoint["port"]), "TCP") for end in behind]
    for ingress in objects.of("Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                # In the namespace of its name.
                name = ingress["spec"]["ingressClassName"]
                controller = End("the Ingress controller", name, {"app.kubernetes.io/name": name})
                backend = path["backend"]["service"]
                service = objects.find("Service", backend["name"])
                behind = list(of_service(objects, service, backend["port"]["name"])) if service else []
                yield controller, name_of(ingress), behind


def lets(objects, direction, end, other, port, protocol):
    """Whether the policies of an end let the other one in at its own port, or itself out to the other's."""
    kind = {"in": "Ingress", "out": "Egress"}[direction]
    target = end if direction == "in" else other
    policies = [
        policy
        for policy in objects.of("NetworkPolicy")
        if namespace_of(policy) == end.namespace
        and kind in policy["spec"]["policyTypes"]
        and selects(policy["spec"]["podSelector"], end.labels)
    ]
    return not policies or any(
        way == direction
        and (not peers or any(is_peer(objects, policy, peer, other) for peer in peers))
        and (
            not ports
            or any(
                one.get("protocol", "TCP") == protocol
                and ("port" not in one or target.ports.get(one["port"], one["port"]) == port)
                for one in ports
            )
        )
        for policy in policies
        for way, peers, ports in rules_of(policy)
    )


def is_peer(objects, policy, peer, end):
    """Whether a policy means this end. Whose address is not known here is meant by any block of addresses."""
    if "ipBlock" in peer or end.namespace is None:
        return "ipBlock" in peer and end.namespace is None
    labels = {"kubernetes.io/metadata.name": end.namespace} | end.namespace_labels
    for one in objects.of("Namespace"):
        if one["metadata"]["name"] == end.namespace:
            labels |= one["metadata"].get("labels", {})
    if "namespaceSelector" in peer:
        at = selects(peer["namespaceSelector"], labels)
    else:
        at = end.namespace == namespace_of(policy)
    return at and selects(peer.get("podSelector", {}), end.labels)


def needed_ways_are_open(objects):
    """What the settings say that a pod calls, it reaches, and so does whoever has to reach the pods here: let out by
    the policies of the one, and in by those of the other."""
    own = own_namespaces(objects)
    for source, reason, targets in needed_ways(objects):
        if not targets:
            yield f"{source.name}: {reason} leads to nobody"
        for target, port, protocol in targets:
            way = f"{source.name} to {target.name} at {protocol} {port} ({reason})"
            if source.namespace in own and not lets(objects, "out", source, target, port, protocol):
                yield f"{way}: is not let out"
            if target.namespace in own and not lets(objects, "in", target, source, port, protocol):
                yield f"{way}: is not let in"


def the_collector_listens_where_it_is_reached(objects):
    for pod in objects.pods():
        config = collector_config(objects, pod)
        if not config:
            continue
        reader = config["service"]["telemetry"]["metrics"]["readers"][0]["pull"]["exporter"]["prometheus"]
        listens = {
            "otlp-grpc": config["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"],
            "health": config["extensions"]["health_check"]["endpoint"],
            "metrics": f"{reader['host']}:{reader['port']}",
        }
        for name, address in listens.items():
            if address != f"0.0.0.0:{pod.ports().get(name)}":
                yield f"{pod.owner}: its port {name} is not {address}"


RULES = [
    needed_ways_are_open,
    the_collector_listens_where_it_is_reached,
]
