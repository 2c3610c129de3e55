"""Each overlay keeps every rule, and each rule refuses what it is there to refuse."""

import copy
import re

import network
import pods
import pytest
import ways
import whole
from conftest import K8S, OVERLAYS, PRODUCTION, ROOT, built
from objects import name_of

EVERYWHERE = pods.RULES + network.RULES + ways.RULES + whole.RULES


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


def recovery(objects):
    return spec(objects, "Cluster", "roster-database")["bootstrap"]["recovery"]


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
        pods.the_documents_tell_how_long_a_pod_takes_to_end,
        lambda o: setting(o, "facade", "ROSTER_BODY_TIMEOUT_MS", "10000"),
        'docs/operations.md: does not say "identity within 25 seconds, the facade within 45',
    ),
    (
        pods.the_documents_tell_how_long_a_pod_takes_to_end,
        lambda o: pod(o).update(terminationGracePeriodSeconds=60),
        "k8s/README.md: does not say",
    ),
    (
        pods.the_documents_tell_how_long_a_pod_takes_to_end,
        lambda o: setting(o, "identity", "ROSTER_DRAIN_DELAY_MS", "15000"),
        "k8s/base/identity/deployment.yaml: does not say",
    ),
    (
        pods.logs_are_of_one_form,
        lambda o: container(o, "migration", "Job")["env"].pop(),
        "Job migration: migrate does not write its log as JSON",
    ),
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
        lambda o: (drop(o, "NetworkPolicy", "deny-all"), drop(o, "NetworkPolicy", "opentelemetry-collector")),
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
    *(
        (ways.needed_ways_are_open, lambda o, name=name: drop(o, "NetworkPolicy", name), said)
        for name, said in [
            ("dns", "Deployment facade to DNS at UDP 53 (names): is not let out"),
            ("dns", "Job migration to DNS at TCP 53 (names): is not let out"),
            ("collector", "Deployment identity to Deployment opentelemetry-collector at TCP 4317"),
            ("opentelemetry-collector", "Deployment opentelemetry-collector to tempo.observability.svc at TCP 4317"),
            ("prometheus", "Prometheus to Deployment identity at TCP 8491"),
            ("database", "Deployment identity to Cluster roster-database at TCP 5432 (DATABASE_URL): is not let out"),
            ("facade", "Deployment facade to Deployment identity at TCP 8481"),
            ("identity", "an internal service to Deployment identity at TCP 8481 (identity): is not let in"),
            ("roster-database", "Job migration to Cluster roster-database at TCP 5432 (DATABASE_URL): is not let in"),
            ("roster-database", "CloudNativePG to Cluster roster-database at TCP 8000 (its instances): is not let in"),
            ("roster-database", "Cluster roster-database to the API server at TCP 6443 (its state): is not let out"),
            ("roster-database", "Prometheus to Cluster roster-database at TCP 9187"),
        ]
    ),
    (
        ways.needed_ways_are_open,
        lambda o: spec(o, "NetworkPolicy", "facade").pop("ingress"),
        "the Ingress controller to Deployment facade at TCP 8480 (Ingress facade): is not let in",
    ),
    (
        ways.needed_ways_are_open,
        lambda o: spec(o, "NetworkPolicy", "identity").pop("ingress"),
        "to Deployment identity at TCP 8481 (ROSTER_IDENTITY_URL https://identity:8481): is not let in",
    ),
    (
        ways.needed_ways_are_open,
        lambda o: spec(o, "Job", "migration")["template"]["metadata"]["labels"].pop("app.kubernetes.io/name"),
        "Job migration to Cluster roster-database at TCP 5432 (DATABASE_URL): is not let out",
    ),
    (
        ways.needed_ways_are_open,
        lambda o: drop(o, "Service", "opentelemetry-collector"),
        "OTEL_EXPORTER_OTLP_ENDPOINT http://opentelemetry-collector:4317 leads to nobody",
    ),
    (
        ways.needed_ways_are_open,
        lambda o: setting(o, "facade", "OTEL_EXPORTER_OTLP_ENDPOINT", "http://opentelemetry-collector:4318"),
        "OTEL_EXPORTER_OTLP_ENDPOINT http://opentelemetry-collector:4318 leads to nobody",
    ),
    (
        ways.needed_ways_are_open,
        lambda o: setting(o, "facade", "OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.observability.svc:4317"),
        "Deployment facade to collector.observability.svc at TCP 4317",
    ),
    (
        ways.needed_ways_are_open,
        lambda o: drop(o, "Service", "identity"),
        "ROSTER_IDENTITY_URL https://identity:8481 leads to nobody",
    ),
    (
        ways.the_collector_listens_where_it_is_reached,
        lambda o: container(o, "opentelemetry-collector")["ports"][2].update(containerPort=8889),
        "its port metrics is not 0.0.0.0:8888",
    ),
    *(
        (whole.what_watches_is_there, lambda o, kind=kind, name=name: drop(o, kind, name), said)
        for kind, name, said in [
            ("ServiceMonitor", "identity", "nobody scrapes identity"),
            ("ServiceMonitor", "opentelemetry-collector", "nobody scrapes opentelemetry-collector"),
            ("PodMonitor", "roster-database", "nobody scrapes Cluster roster-database"),
            ("PrometheusRule", "roster-services", "the rules of services.yaml are not applied"),
            ("PrometheusRule", "roster-watchers", "the rules of watchers.yaml are not applied"),
        ]
    ),
    (
        whole.what_watches_is_there,
        lambda o: [one["metadata"].pop("labels") for one in o.of("ConfigMap") if "overview.json" in one["data"]],
        "the dashboard overview.json is not applied",
    ),
    (
        whole.what_watches_is_there,
        lambda o: setting(o, "facade", "OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        "facade: its spans go nowhere",
    ),
    (whole.the_world_reaches_the_facade, lambda o: drop(o, "Ingress", "facade"), "lead to [], not to the facade"),
    (
        whole.the_databases_backups_can_be_restored,
        lambda o: drop(o, "ScheduledBackup", "roster-database"),
        "nobody makes backups",
    ),
    (
        whole.the_databases_backups_can_be_restored,
        lambda o: spec(o, "Cluster", "roster-database")["backup"]["volumeSnapshot"].pop("online"),
        "is snapshot while it runs",
    ),
    (
        whole.the_databases_backups_can_be_restored,
        lambda o: spec(o, "ScheduledBackup", "roster-database").update(online=True),
        "is snapshot while it runs",
    ),
    (
        whole.the_databases_backups_can_be_restored,
        lambda o: spec(o, "Cluster", "roster-database")["backup"].update(target="primary"),
        "its primary is stopped",
    ),
    (
        whole.the_databases_backups_can_be_restored,
        lambda o: spec(o, "Cluster", "roster-database")["backup"]["volumeSnapshot"].update(
            snapshotOwnerReference="cluster"
        ),
        "its snapshots go with it",
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
        whole.all_is_in_its_namespace,
        lambda o: o.all.append({"kind": "Namespace", "metadata": {"name": "observability"}}),
        "Namespace observability: may be somebody else's",
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


# The same of what is in no other overlay.
BAD_ELSEWHERE = [
    (
        "development",
        ways.needed_ways_are_open,
        lambda o: drop(o, "NetworkPolicy", "database-callers"),
        "Deployment identity to Deployment database at TCP 5432 (DATABASE_URL): is not let in",
    ),
    (
        "development",
        ways.needed_ways_are_open,
        lambda o: drop(o, "NetworkPolicy", "database"),
        "Job migration to Deployment database at TCP 5432 (DATABASE_URL): is not let out",
    ),
    (
        "development",
        ways.needed_ways_are_open,
        lambda o: drop(o, "Service", "database"),
        "Deployment identity: DATABASE_URL leads to nobody",
    ),
    (
        "production",
        ways.needed_ways_are_open,
        lambda o: drop(o, "NetworkPolicy", "database"),
        "Job migration to a database outside at TCP 5432 (DATABASE_URL): is not let out",
    ),
    (
        "production-cnpg-restored",
        whole.a_restored_database_is_told_so,
        lambda o: container(o, "migration", "Job").update(args=["migrate"]),
        "is what is run on it",
    ),
    (
        "production-cnpg-restored",
        whole.a_restored_database_is_told_so,
        lambda o: pod(o, "migration", "Job").pop("initContainers"),
        "is what is run on it",
    ),
    (
        "production-cnpg-restored",
        whole.a_restored_database_is_told_so,
        lambda o: recovery(o)["volumeSnapshots"].pop("walStorage"),
        "without a snapshot of each of ['storage', 'walStorage']",
    ),
    (
        "production-cnpg-restored",
        whole.a_restored_database_is_told_so,
        lambda o: recovery(o)["volumeSnapshots"]["storage"].update(name="roster-database-20261123020000"),
        "is restored from two backups",
    ),
    (
        "production-cnpg-restored",
        whole.a_restored_database_is_told_so,
        lambda o: recovery(o).pop("owner"),
        "makes no URL",
    ),
    (
        "production-restored",
        pods.logs_are_of_one_form,
        lambda o: pod(o, "migration", "Job")["initContainers"][0]["env"].pop(),
        "Job migration: migrate does not write its log as JSON",
    ),
]
ALL_BAD = [("production-cnpg", *one) for one in BAD] + BAD_ELSEWHERE


@pytest.mark.parametrize(
    ("name", "rule", "worsen", "said"),
    ALL_BAD,
    ids=[f"{rule.__name__}: {said}" for _, rule, _, said in ALL_BAD],
)
def test_refused(name, rule, worsen, said):
    objects = built(name).copy()
    worsen(objects)
    assert said in "\n".join(rule(objects))


def test_every_rule_has_a_bad_example():
    assert {rule for _, rule, _, _ in ALL_BAD} == set(EVERYWHERE + whole.IN_PRODUCTION)


def is_noticed(objects):
    """Whether any rule says anything. One that does not find an object that it needs fails, which says it too."""
    for rule in EVERYWHERE + whole.IN_PRODUCTION:
        try:
            if list(rule(objects)):
                return True
        except (AssertionError, KeyError, IndexError):
            return True
    return False


@pytest.mark.parametrize("name", PRODUCTION)
def test_nothing_can_be_left_out(name):
    assert not is_noticed(built(name))
    unnoticed = []
    for number, one in enumerate(built(name).all):
        objects = built(name).copy()
        del objects.all[number]
        if not is_noticed(objects):
            unnoticed.append(name_of(one))
    assert unnoticed == []


def parts(policy):
    """Each list in the policy, with what holds it and its key: rules, peers, ports, values."""
    spec = policy["spec"]
    for direction in ("ingress", "egress"):
        for rule in spec.get(direction) or []:
            yield spec, direction
            for key in ("from", "to", "ports"):
                if key in rule:
                    yield rule, key
                for peer in rule.get(key, []):
                    for expression in peer.get("podSelector", {}).get("matchExpressions", []):
                        yield expression, "values"
    for expression in spec["podSelector"].get("matchExpressions", []):
        yield expression, "values"


@pytest.mark.parametrize("name", PRODUCTION)
def test_no_way_can_be_closed(name):
    """Each rule of each policy, and each of several peers, ports and names in it, is there for a way that is needed:
    without it some rule here says so. (Without its only peer or port a rule would be open to all.)"""
    assert not is_noticed(built(name))
    unnoticed, tried = [], 0
    for number, policy in enumerate(built(name).all):
        if policy["kind"] != "NetworkPolicy":
            continue
        for part, (_, key) in enumerate(list(parts(policy))):
            holder, _ = list(parts(policy))[part]
            if key in ("from", "to", "ports") and len(holder[key]) == 1:
                continue
            for place in range(len(holder[key])):
                objects = built(name).copy()
                holder, key = list(parts(objects.all[number]))[part]
                gone = copy.deepcopy(holder[key].pop(place))
                tried += 1
                if not is_noticed(objects):
                    unnoticed.append(f"{name_of(policy)}, {key}: {gone}")
    assert unnoticed == []
    assert tried > 20


@pytest.mark.parametrize("file", ["k8s/README.md", "docs/operations.md"])
def test_the_documents_apply_what_there_is(file):
    """`kubectl apply` of a part of an overlay, by a label, in the documents."""
    text = (ROOT / file).read_text()
    applied = re.findall(r"kubectl apply -k k8s/overlays/(\S+)(?: -l app\.kubernetes\.io/component=(\S+))?", text)
    assert len(applied) > 2
    for name, component in applied:
        assert name in OVERLAYS
        labels = [one["metadata"].get("labels", {}) for one in built(name).all]
        kinds = {
            one["kind"]
            for one, known in zip(built(name).all, labels, strict=True)
            if component in ("", known.get("app.kubernetes.io/component"))
        }
        wanted = {"database": {"Cluster", "ScheduledBackup", "NetworkPolicy", "PodMonitor"}, "migration": {"Job"}}
        assert kinds >= wanted.get(component, {"Deployment"})
        # While a restore goes on nothing may serve.
        assert component == "" or "Deployment" not in kinds


def test_an_object_has_a_file_of_its_own():
    for file in K8S.rglob("*.yaml"):
        assert "\n---" not in file.read_text(), file
