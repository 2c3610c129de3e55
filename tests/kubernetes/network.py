"""What must hold of the ways between pods, and to and from outside. A rule yields a sentence for each thing that is
wrong."""

import ipaddress
import re
from urllib.parse import urlsplit

from conftest import K8S
from objects import name_of, namespace_of, rules_of, selects


def nothing_is_open_by_default(objects):
    """Both ways of every pod are the matter of some policy, and what comes to the services' namespace later is
    denied by one that allows nothing."""
    policies = objects.of("NetworkPolicy")
    for owner, namespace, labels in objects.selectable():
        ways = set()
        for policy in policies:
            if namespace_of(policy) == namespace and selects(policy["spec"]["podSelector"], labels):
                ways |= set(policy["spec"]["policyTypes"])
        if ways != {"Ingress", "Egress"}:
            yield f"{owner}: nothing denies what no policy allows"
    closed = [
        policy
        for policy in policies
        if namespace_of(policy) == "roster"
        and policy["spec"]["podSelector"] == {}
        and set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        and not list(rules_of(policy))
    ]
    if not closed:
        yield "nothing denies what no policy allows to a pod that is added"


def every_way_is_named(objects):
    for policy in objects.of("NetworkPolicy"):
        for direction, peers, ports in rules_of(policy):
            where = f"{name_of(policy)}, {direction}"
            if not peers:
                yield f"{where}: to or from anywhere"
            if not ports or any("port" not in port for port in ports):
                yield f"{where}: at any port"
            for peer in peers or []:
                if "ipBlock" in peer:
                    network = ipaddress.ip_network(peer["ipBlock"]["cidr"])
                    if network.prefixlen < (20 if network.version == 4 else 56):
                        yield f"{where}: {network} is wide open"
                elif not any(any(selector.values()) for selector in peer.values() if selector):
                    yield f"{where}: every pod of every namespace"


def peers_here(objects, policy, peers):
    """Of the peers, those whose pods are among the objects: a namespace and a selector. What is named with its
    namespace may be somebody else's."""
    for peer in peers or []:
        selector = peer.get("podSelector", {})
        if "namespaceSelector" in peer:
            namespace = peer["namespaceSelector"].get("matchLabels", {}).get("kubernetes.io/metadata.name")
            if is_there(objects, namespace, selector):
                yield namespace, selector
        elif "podSelector" in peer:
            yield namespace_of(policy), selector


def is_there(objects, namespace, selector):
    return any(at == namespace and selects(selector, labels) for _, at, labels in objects.selectable())


def policies_fit_the_pods(objects):
    for policy in objects.of("NetworkPolicy"):
        own = (namespace_of(policy), policy["spec"]["podSelector"])
        if not is_there(objects, *own):
            yield f"{name_of(policy)}: selects no pod"
        for direction, peers, ports in rules_of(policy):
            here = list(peers_here(objects, policy, peers))
            for end in here:
                if not is_there(objects, *end):
                    yield f"{name_of(policy)}, {direction}: names a pod that there is not"
            ends = [own] if direction == "in" else here
            for pod in objects.pods():
                if not any(pod.namespace == at and selects(selector, pod.labels) for at, selector in ends):
                    continue
                for port in ports or []:
                    if port.get("port") not in pod.ports():
                        yield f"{name_of(policy)}, {direction}: {pod.owner} has no port {port.get('port')}"


def services_lead_to_pods(objects):
    for service in objects.of("Service"):
        selector = {"matchLabels": service["spec"]["selector"]}
        behind = [
            pod
            for pod in objects.pods()
            if pod.namespace == namespace_of(service) and selects(selector, pod.labels)
        ]
        if not behind:
            yield f"{name_of(service)}: selects no pod"
        for pod in behind:
            for port in service["spec"]["ports"]:
                if port.get("targetPort", port["port"]) not in pod.ports():
                    yield f"{name_of(service)}: {pod.owner} has no port {port.get('targetPort')}"


def identity_is_headless(objects):
    if objects.get("Service", "identity")["spec"].get("clusterIP") != "None":
        yield "Service identity: has one address, so that clients can't spread their calls"


def the_facade_reaches_identity_by_mutual_tls(objects):
    settings = objects.settings(objects.get("Deployment", "facade")["spec"]["template"]["spec"])
    url = urlsplit(settings["ROSTER_IDENTITY_URL"])
    service = objects.find("Service", url.hostname)
    if service is None or url.port not in [port["port"] for port in service["spec"]["ports"]]:
        yield f"there is no Service for {url.netloc}"
    certificates = {one["metadata"]["name"]: one["spec"] for one in objects.of("Certificate")}
    if url.scheme != "https" or url.hostname not in certificates["identity"]["dnsNames"]:
        yield f"identity has no certificate for {url.geturl()}"
    of_identity = objects.settings(objects.get("Deployment", "identity")["spec"]["template"]["spec"])
    wanted = {
        "identity": (of_identity, ["ROSTER_TLS_CERT", "ROSTER_TLS_KEY", "ROSTER_TLS_CLIENT_CA"], "server auth"),
        "facade": (settings, ["ROSTER_IDENTITY_CERT", "ROSTER_IDENTITY_KEY", "ROSTER_IDENTITY_CA"], "client auth"),
    }
    for name, (known, variables, usage) in wanted.items():
        for variable in variables:
            if variable not in known:
                yield f"{name}: {variable} is not set"
        if usage not in certificates[name]["usages"]:
            yield f"{name}: its certificate is not one for {usage}"
    if len({one["issuerRef"]["name"] for name, one in certificates.items() if name in wanted}) != 1:
        yield "identity and the facade are not known to one authority"


def certificates_have_an_issuer(objects):
    for certificate in objects.of("Certificate"):
        issuer = certificate["spec"]["issuerRef"]
        if issuer["kind"] == "Issuer" and objects.find("Issuer", issuer["name"]) is None:
            yield f"{name_of(certificate)}: there is no Issuer {issuer['name']}"
    made = {one["spec"]["secretName"] for one in objects.of("Certificate")}
    for issuer in objects.of("Issuer"):
        if "ca" in issuer["spec"] and issuer["spec"]["ca"]["secretName"] not in made:
            yield f"{name_of(issuer)}: nothing makes its authority"


def the_ingress_leads_to_the_facade_by_its_public_name(objects):
    settings = objects.settings(objects.get("Deployment", "facade")["spec"]["template"]["spec"])
    for ingress in objects.of("Ingress"):
        secured = [host for tls in ingress["spec"].get("tls", []) for host in tls["hosts"]]
        for rule in ingress["spec"]["rules"]:
            if rule["host"] not in secured:
                yield f"{name_of(ingress)}: {rule['host']} is served without TLS"
            if settings.get("ROSTER_PUBLIC_URL") != f"https://{rule['host']}":
                yield f"{name_of(ingress)}: ROSTER_PUBLIC_URL is not https://{rule['host']}"
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                service = objects.find("Service", backend["name"])
                ports = [port["name"] for port in service["spec"]["ports"]] if service else []
                if backend["port"]["name"] not in ports:
                    yield f"{name_of(ingress)}: there is no {backend['name']} at {backend['port']['name']}"
                if backend["port"]["name"] == "admin":
                    yield f"{name_of(ingress)}: the admin port is open to the world"


def the_scrapes_find_their_pods(objects):
    for monitor in objects.of("ServiceMonitor"):
        found = [
            service
            for service in objects.of("Service")
            if selects(monitor["spec"]["selector"], service["metadata"].get("labels", {}))
        ]
        if not found:
            yield f"{name_of(monitor)}: selects no Service"
        for service in found:
            for endpoint in monitor["spec"]["endpoints"]:
                if endpoint["port"] not in [port["name"] for port in service["spec"]["ports"]]:
                    yield f"{name_of(monitor)}: {name_of(service)} has no port {endpoint['port']}"


def an_authority_keeps_its_key(objects):
    """Renewed with another key, it would be trusted by nobody who has the one of before."""
    for certificate in objects.of("Certificate"):
        spec = certificate["spec"]
        if spec.get("isCA"):
            if spec.get("privateKey", {}).get("rotationPolicy") != "Never":
                yield f"{name_of(certificate)}: is renewed with another key"
            longest = max(hours(one["spec"]["duration"]) for one in objects.of("Certificate") if one is not certificate)
            if hours(spec.get("renewBefore", "0h")) <= longest:
                yield f"{name_of(certificate)}: ends before what it has signed"


def hours(duration):
    return int(duration.removesuffix("h"))


def there_is_a_way_in_for_an_operator(objects):
    """A certificate that identity takes, for the name by which k8s/README.md has an operator call it."""
    certificates = {one["metadata"]["name"]: one["spec"] for one in objects.of("Certificate")}
    operator = certificates.get("operator", {"usages": [], "issuerRef": {}, "secretName": ""})
    readme = (K8S / "README.md").read_text()
    if "client auth" not in operator["usages"] or operator["issuerRef"] != certificates["identity"]["issuerRef"]:
        yield "an operator has no certificate that identity takes"
    elif f"secret {operator['secretName']} " not in readme:
        yield f"k8s/README.md does not name the secret {operator['secretName']}"
    for name in re.findall(r"ROSTER_TLS_SERVER_NAME=(\S+)", readme):
        if name not in certificates["identity"]["dnsNames"]:
            yield f"identity has no certificate for {name}"


def the_ingress_takes_tls_alone(objects):
    """Traefik serves an Ingress at all of its entry points unless it is told which: a token would pass in clear."""
    for ingress in objects.of("Ingress"):
        if ingress["spec"].get("ingressClassName") != "traefik":
            continue
        annotations = ingress["metadata"].get("annotations", {})
        prefix = "traefik.ingress.kubernetes.io/router."
        if annotations.get(prefix + "entrypoints") != "websecure" or annotations.get(prefix + "tls") != "true":
            yield f"{name_of(ingress)}: is served without TLS, too"


def the_proxy_is_the_one_to_close(objects):
    """Traefik keeps an idle connection to a pod for 90 seconds. Closed by the pod, it may meet the next request."""
    settings = objects.settings(objects.get("Deployment", "facade")["spec"]["template"]["spec"])
    if objects.of("Ingress") and int(settings.get("ROSTER_HEADER_TIMEOUT_MS", 75_000)) <= 90_000:
        yield "the facade closes connections that its proxy still keeps"


RULES = [
    an_authority_keeps_its_key,
    there_is_a_way_in_for_an_operator,
    the_ingress_takes_tls_alone,
    the_proxy_is_the_one_to_close,
    nothing_is_open_by_default,
    every_way_is_named,
    policies_fit_the_pods,
    services_lead_to_pods,
    identity_is_headless,
    the_facade_reaches_identity_by_mutual_tls,
    certificates_have_an_issuer,
    the_ingress_leads_to_the_facade_by_its_public_name,
    the_scrapes_find_their_pods,
]
