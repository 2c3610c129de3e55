"""Each overlay keeps every rule, and each rule refuses what it is there to refuse."""

import network
import pods
import pytest
import whole
from conftest import K8S, built

EVERYWHERE = pods.RULES + network.RULES + whole.RULES


def named(rule):
    return rule.__name__


@pytest.mark.parametrize("rule", EVERYWHERE, ids=named)
def test_every_overlay_keeps(rule, overlay):
    assert list(rule(overlay)) == []


@pytest.mark.parametrize("rule", whole.IN_PRODUCTION, ids=named)
def test_production_keeps(rule, production):
    assert list(rule(production)) == []


def pod(objects, name="identity", kind="Deployment"):
    return objects.get(kind, name)["spec"]["template"]["spec"]


def container(objects, name="identity", kind="Deployment"):
    return pod(objects, name, kind)["containers"][0]


def spec(objects, kind, name):
    return objects.get(kind, name)["spec"]


def drop(objects, kind, name):
    objects.all.remove(objects.get(kind, name))


def setting(objects, name, variable, value):
    source = container(objects, name)["envFrom"][0]["configMapRef"]["name"]
    objects.get("ConfigMap", source)["data"][variable] = value


ANYWHERE = {"ipBlock": {"cidr": "0.0.0.0/0"}}

# A rule, what is done to good objects, and what the rule then says.
BAD = [
    (pods.images_are_pinned, lambda o: container(o).update(image="roster/identity:latest"), "neither a digest"),
    (pods.images_are_pinned, lambda o: container(o).update(image="host:5000/roster/identity"), "neither a digest"),
    (pods.images_are_pinned, lambda o: spec(o, "Cluster", "roster-database").pop("imageName"), "neither a digest"),
    (pods.pods_are_probed, lambda o: container(o).pop("startupProbe"), "no startupProbe"),
    (pods.pods_are_probed, lambda o: container(o).pop("livenessProbe"), "no livenessProbe"),
    (pods.pods_are_probed, lambda o: container(o)["readinessProbe"]["httpGet"].update(port=8482), "no port of it"),
    (pods.resources_are_bounded, lambda o: container(o)["resources"].pop("limits"), "no memory in its limits"),
    (pods.resources_are_bounded, lambda o: container(o)["resources"]["requests"].pop("cpu"), "no cpu in its requests"),
    (pods.pods_are_restricted, lambda o: pod(o).update(hostNetwork=True), "hostNetwork"),
    (
        pods.pods_are_restricted,
        lambda o: pod(o)["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
        "is a hostPath",
    ),
    (pods.pods_are_restricted, lambda o: pod(o)["securityContext"].pop("runAsNonRoot"), "may run as root"),
    (pods.pods_are_restricted, lambda o: pod(o)["securityContext"].update(runAsUser=0), "may run as root"),
    (pods.pods_are_restricted, lambda o: pod(o)["securityContext"].pop("seccompProfile"), "no seccomp"),
    (
        pods.pods_are_restricted,
        lambda o: container(o)["securityContext"].pop("allowPrivilegeEscalation"),
        "gain privileges",
    ),
    (
        pods.pods_are_restricted,
        lambda o: container(o, "migration", "Job")["securityContext"].update(readOnlyRootFilesystem=False),
        "write its root",
    ),
    (
        pods.pods_are_restricted,
        lambda o: container(o)["securityContext"]["capabilities"].update(add=["NET_ADMIN"]),
        "keeps capabilities",
    ),
    (pods.pods_are_restricted, lambda o: container(o)["securityContext"].update(runAsUser=0), "may run as root"),
    (pods.pods_have_no_token, lambda o: pod(o).pop("automountServiceAccountToken"), "a token is mounted"),
    (
        pods.pods_have_no_token,
        lambda o: o.get("ServiceAccount", "facade").update(automountServiceAccountToken=True),
        "its token is mounted",
    ),
    (pods.pods_have_no_token, lambda o: drop(o, "ServiceAccount", "facade"), "no ServiceAccount facade"),
    (
        pods.services_run_as_somebody_of_their_own,
        lambda o: pod(o).update(serviceAccountName="facade"),
        "share a service account",
    ),
    (pods.pods_end_in_time, lambda o: pod(o, "facade").update(terminationGracePeriodSeconds=30), "is killed before"),
    (pods.pods_end_in_time, lambda o: setting(o, "facade", "ROSTER_REQUEST_TIMEOUT_MS", "38000"), "is killed before"),
    (pods.pods_end_in_time, lambda o: setting(o, "identity", "ROSTER_DRAIN_DELAY_MS", "0"), "stops taking calls"),
    (
        pods.spans_name_their_pod,
        lambda o: container(o, "facade")["env"].pop(),
        "facade: its spans say that they are of None",
    ),
    (
        pods.spans_name_their_pod,
        lambda o: container(o)["env"].reverse(),
        "k8s.pod.name=?",
    ),
    (network.nothing_is_open_by_default, lambda o: drop(o, "NetworkPolicy", "deny-all"), "nothing denies"),
    (
        network.nothing_is_open_by_default,
        lambda o: spec(o, "NetworkPolicy", "deny-all").update(egress=[{}]),
        "nothing denies",
    ),
    (
        network.nothing_is_open_by_default,
        lambda o: drop(o, "NetworkPolicy", "opentelemetry-collector"),
        "Deployment opentelemetry-collector: nothing denies",
    ),
    (
        network.policies_fit_the_pods,
        lambda o: spec(o, "NetworkPolicy", "collector")["egress"][0]["ports"][0].update(port=4318),
        "Deployment opentelemetry-collector has no port 4318",
    ),
    (
        network.every_way_is_named,
        lambda o: spec(o, "NetworkPolicy", "facade")["egress"][0].pop("to"),
        "to or from anywhere",
    ),
    (network.every_way_is_named, lambda o: spec(o, "NetworkPolicy", "dns")["egress"][0].pop("ports"), "at any port"),
    (
        network.every_way_is_named,
        lambda o: spec(o, "NetworkPolicy", "database")["egress"][0].update(to=[ANYWHERE]),
        "wide open",
    ),
    (
        network.every_way_is_named,
        lambda o: spec(o, "NetworkPolicy", "identity")["ingress"][0]["from"].append({"namespaceSelector": {}}),
        "every pod of every namespace",
    ),
    (
        network.policies_fit_the_pods,
        lambda o: spec(o, "NetworkPolicy", "facade").update(podSelector={"matchLabels": {"app": "facade"}}),
        "selects no pod",
    ),
    (
        network.policies_fit_the_pods,
        lambda o: spec(o, "NetworkPolicy", "facade")["egress"][0]["ports"][0].update(port=8482),
        "Deployment identity has no port 8482",
    ),
    (
        network.policies_fit_the_pods,
        lambda o: spec(o, "NetworkPolicy", "database")["egress"][0]["to"][0]["podSelector"].update(
            matchLabels={"cnpg.io/cluster": "other"}
        ),
        "a pod that there is not",
    ),
    (
        network.services_lead_to_pods,
        lambda o: spec(o, "Service", "facade")["ports"][0].update(targetPort="web"),
        "has no port web",
    ),
    (
        network.services_lead_to_pods,
        lambda o: spec(o, "Service", "facade").update(selector={"app": "facade"}),
        "selects no pod",
    ),
    (network.identity_is_headless, lambda o: spec(o, "Service", "identity").pop("clusterIP"), "one address"),
    (
        network.the_facade_reaches_identity_by_mutual_tls,
        lambda o: setting(o, "facade", "ROSTER_IDENTITY_URL", "http://identity:8481"),
        "no certificate",
    ),
    (
        network.the_facade_reaches_identity_by_mutual_tls,
        lambda o: setting(o, "facade", "ROSTER_IDENTITY_URL", "https://identity:443"),
        "no Service for identity:443",
    ),
    (
        network.the_facade_reaches_identity_by_mutual_tls,
        lambda o: o.get("ConfigMap", "identity")["data"].pop("ROSTER_TLS_CLIENT_CA"),
        "ROSTER_TLS_CLIENT_CA is not set",
    ),
    (
        network.the_facade_reaches_identity_by_mutual_tls,
        lambda o: spec(o, "Certificate", "facade").update(usages=["server auth"]),
        "not one for client auth",
    ),
    (
        network.the_facade_reaches_identity_by_mutual_tls,
        lambda o: spec(o, "Certificate", "facade")["issuerRef"].update(name="self-signed"),
        "one authority",
    ),
    (
        network.an_authority_keeps_its_key,
        lambda o: spec(o, "Certificate", "authority")["privateKey"].pop("rotationPolicy"),
        "with another key",
    ),
    (
        network.an_authority_keeps_its_key,
        lambda o: spec(o, "Certificate", "authority").update(renewBefore="720h"),
        "ends before what it has signed",
    ),
    (
        network.there_is_a_way_in_for_an_operator,
        lambda o: drop(o, "Certificate", "operator"),
        "an operator has no certificate",
    ),
    (
        network.there_is_a_way_in_for_an_operator,
        lambda o: spec(o, "Certificate", "operator")["issuerRef"].update(name="self-signed"),
        "an operator has no certificate",
    ),
    (
        network.there_is_a_way_in_for_an_operator,
        lambda o: spec(o, "Certificate", "operator").update(secretName="somebody-tls"),
        "does not name the secret somebody-tls",
    ),
    (
        network.there_is_a_way_in_for_an_operator,
        lambda o: spec(o, "Certificate", "identity").update(dnsNames=["identity"]),
        "no certificate for identity.roster.svc",
    ),
    (
        network.the_ingress_takes_tls_alone,
        lambda o: o.get("Ingress", "facade")["metadata"]["annotations"].pop(
            "traefik.ingress.kubernetes.io/router.entrypoints"
        ),
        "is served without TLS, too",
    ),
    (
        network.the_proxy_is_the_one_to_close,
        lambda o: setting(o, "facade", "ROSTER_HEADER_TIMEOUT_MS", "75000"),
        "that its proxy still keeps",
    ),
    (network.certificates_have_an_issuer, lambda o: drop(o, "Issuer", "authority"), "no Issuer authority"),
    (network.certificates_have_an_issuer, lambda o: drop(o, "Certificate", "authority"), "nothing makes its authority"),
    (
        network.the_ingress_leads_to_the_facade_by_its_public_name,
        lambda o: spec(o, "Ingress", "facade").pop("tls"),
        "without TLS",
    ),
    (
        network.the_ingress_leads_to_the_facade_by_its_public_name,
        lambda o: setting(o, "facade", "ROSTER_PUBLIC_URL", "https://other.example.com"),
        "ROSTER_PUBLIC_URL is not",
    ),
    (
        network.the_ingress_leads_to_the_facade_by_its_public_name,
        lambda o: spec(o, "Ingress", "facade")["rules"][0]["http"]["paths"][0]["backend"]["service"]["port"].update(
            name="admin"
        ),
        "open to the world",
    ),
    (
        network.the_scrapes_find_their_pods,
        lambda o: spec(o, "ServiceMonitor", "identity")["endpoints"][0].update(port="metrics"),
        "no port metrics",
    ),
    (
        network.the_scrapes_find_their_pods,
        lambda o: o.get("Service", "identity")["metadata"].pop("labels"),
        "selects no Service",
    ),
    (
        whole.what_is_referred_to_exists,
        lambda o: container(o)["env"][0]["valueFrom"]["secretKeyRef"].update(key="url"),
        "nobody makes the Secret roster-database-app with url",
    ),
    (whole.what_is_referred_to_exists, lambda o: drop(o, "Certificate", "facade"), "the Secret facade-tls"),
    (whole.what_is_referred_to_exists, lambda o: drop(o, "ConfigMap", "facade"), "no ConfigMap facade"),
    (whole.what_is_referred_to_exists, lambda o: pod(o)["volumes"].pop(), "no volume tls"),
    (
        whole.files_in_settings_are_mounted,
        lambda o: setting(o, "identity", "ROSTER_TLS_KEY", "/etc/roster/tls/key.pem"),
        "which is not mounted",
    ),
    (
        whole.no_secret_stands_in_the_repository,
        lambda o: o.all.append({"kind": "Secret", "metadata": {"name": "password"}}),
        "can be read",
    ),
    (
        whole.all_is_in_its_namespace,
        lambda o: o.get("Service", "facade")["metadata"].update(namespace="default"),
        "which there is not",
    ),
    (
        whole.all_is_in_its_namespace,
        lambda o: o.get("Namespace", "roster")["metadata"].pop("labels"),
        "does not enforce",
    ),
    (
        whole.budgets_and_autoscalers_have_a_subject,
        lambda o: spec(o, "PodDisruptionBudget", "facade")["selector"].update(matchLabels={"app": "facade"}),
        "selects no pod",
    ),
    (
        whole.budgets_and_autoscalers_have_a_subject,
        lambda o: spec(o, "HorizontalPodAutoscaler", "facade")["scaleTargetRef"].update(name="scim"),
        "no Deployment scim",
    ),
    (
        whole.budgets_and_autoscalers_have_a_subject,
        lambda o: spec(o, "Deployment", "facade").update(replicas=3),
        "against its autoscaler",
    ),
    (
        whole.a_lost_machine_is_not_noticed,
        lambda o: spec(o, "HorizontalPodAutoscaler", "facade").update(minReplicas=1),
        "may run as one pod",
    ),
    (whole.a_lost_machine_is_not_noticed, lambda o: drop(o, "PodDisruptionBudget", "facade"), "evicted at once"),
    (
        whole.a_lost_machine_is_not_noticed,
        lambda o: pod(o)["topologySpreadConstraints"].pop(),
        "in one zone",
    ),
    (
        whole.a_lost_machine_is_not_noticed,
        lambda o: pod(o)["topologySpreadConstraints"][0].pop("nodeTaintsPolicy"),
        "identity: a machine that takes no pods",
    ),
    (
        whole.a_lost_machine_is_not_noticed,
        lambda o: spec(o, "Deployment", "facade")["strategy"]["rollingUpdate"].update(maxUnavailable=1),
        "before there are others",
    ),
    (
        whole.the_database_has_a_connection_for_each,
        lambda o: setting(o, "identity", "ROSTER_DB_POOL", "20"),
        "10 pods times 22 connections",
    ),
    (
        whole.the_database_has_a_connection_for_each,
        lambda o: spec(o, "Cluster", "roster-database").update(instances=1),
        "a lost machine",
    ),
    (
        whole.the_databases_log_holds_no_values,
        lambda o: spec(o, "Cluster", "roster-database")["postgresql"]["parameters"].pop("log_parameter_max_length"),
        "log_parameter_max_length lets",
    ),
    (
        whole.the_databases_instances_see_each_other,
        lambda o: spec(o, "NetworkPolicy", "roster-database")["egress"][0]["ports"].pop(),
        "no egress between its instances at 8000",
    ),
    (
        whole.the_migration_goes_first,
        lambda o: container(o, "migration", "Job").update(image="roster/identity:0.0.1"),
        "of another release",
    ),
    (
        whole.the_migration_goes_first,
        lambda o: container(o, "migration", "Job")["env"][0]["valueFrom"]["secretKeyRef"].update(name="other"),
        "another database",
    ),
    (
        whole.the_migration_goes_first,
        lambda o: o.get("ServiceAccount", "migration")["metadata"].update(labels={}),
        "not applied with",
    ),
    (
        whole.the_migration_goes_first,
        lambda o: o.get("Deployment", "facade")["metadata"].pop("annotations"),
        "may overtake",
    ),
    (
        whole.what_leads_to_the_rollout_comes_after_it,
        lambda o: o.get("HorizontalPodAutoscaler", "facade")["metadata"].pop("annotations"),
        "HorizontalPodAutoscaler facade: may come before",
    ),
    (
        whole.what_leads_to_the_rollout_comes_after_it,
        lambda o: o.get("Ingress", "facade")["metadata"]["annotations"].pop("argocd.argoproj.io/sync-wave"),
        "Ingress facade: may come before",
    ),
]


@pytest.mark.parametrize(("rule", "worsen", "said"), BAD, ids=[f"{rule.__name__}: {said}" for rule, _, said in BAD])
def test_refused(rule, worsen, said):
    objects = built("production-cnpg").copy()
    worsen(objects)
    assert said in "\n".join(rule(objects))


def test_every_rule_has_a_bad_example():
    assert {rule for rule, _, _ in BAD} == set(EVERYWHERE + whole.IN_PRODUCTION)


def test_an_object_has_a_file_of_its_own():
    for file in K8S.rglob("*.yaml"):
        assert "\n---" not in file.read_text(), file
