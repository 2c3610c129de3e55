"""What must hold of an overlay as a whole. A rule yields a sentence for each thing that is wrong."""

import re
from pathlib import PurePosixPath

import yaml

from conftest import K8S
from objects import name_of, namespace_of, selects

# Prometheus and Grafana run there already.
OTHERS_NAMESPACES = {"monitoring"}


def documented_secrets():
    """The secrets that k8s/README.md tells an operator to make: the rows of its table."""
    known = {}
    for name, keys in re.findall(r"^\| `([a-z-]+)` \| ([^|]*`[^|]*) \|", (K8S / "README.md").read_text(), re.M):
        known[name] = set(re.findall(r"`([^`]+)`", keys))
    return known


def secrets_of(objects):
    """The keys of every secret that there will be, by its name."""
    known = documented_secrets()
    for one in objects.of("Secret"):
        known[one["metadata"]["name"]] = set(one.get("data", {})) | set(one.get("stringData", {}))
    for one in objects.of("Certificate"):
        known[one["spec"]["secretName"]] = {"tls.crt", "tls.key", "ca.crt"}
    for one in objects.of("Cluster"):
        known[one["metadata"]["name"] + "-app"] = {"uri", "username", "password"}
        known[one["metadata"]["name"] + "-ca"] = {"ca.crt"}
    return known


def what_is_referred_to_exists(objects):
    secrets = secrets_of(objects)
    maps = {one["metadata"]["name"] for one in objects.of("ConfigMap")}
    for pod in objects.pods():
        wanted = []
        for container in pod.containers:
            for variable in container.get("env", []):
                reference = variable.get("valueFrom", {}).get("secretKeyRef")
                if reference is not None:
                    wanted.append((reference["name"], reference["key"]))
            for source in container.get("envFrom", []):
                if source["configMapRef"]["name"] not in maps:
                    yield f"{pod.owner}: there is no ConfigMap {source['configMapRef']['name']}"
            volumes = {volume["name"] for volume in pod.spec.get("volumes", [])}
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    yield f"{pod.owner}: there is no volume {mount['name']}"
        for volume in pod.spec.get("volumes", []):
            if "configMap" in volume and volume["configMap"]["name"] not in maps:
                yield f"{pod.owner}: there is no ConfigMap {volume['configMap']['name']}"
            if "secret" in volume:
                secret = volume["secret"]
                wanted += [(secret["secretName"], item["key"]) for item in secret.get("items", [])]
                wanted.append((secret["secretName"], None))
        for name, key in wanted:
            if name not in secrets or (key is not None and key not in secrets[name]):
                yield f"{pod.owner}: nobody makes the Secret {name} with {key}"


def files_in_settings_are_mounted(objects):
    secrets = secrets_of(objects)
    for pod in objects.pods():
        if not any(image in pod.spec["containers"][0]["image"] for image in ("roster/identity", "roster/facade")):
            continue
        volumes = {volume["name"]: volume["secret"] for volume in pod.spec["volumes"]}
        files = set()
        for mount in pod.spec["containers"][0]["volumeMounts"]:
            secret = volumes[mount["name"]]
            names = {item["path"] for item in secret.get("items", [])} or secrets[secret["secretName"]]
            files |= {str(PurePosixPath(mount["mountPath"]) / name) for name in names}
        for name, value in objects.settings(pod.spec).items():
            if isinstance(value, str) and value.startswith("/") and value not in files:
                yield f"{pod.owner}: {name} is {value}, which is not mounted"


def no_secret_stands_in_the_repository(objects):
    for one in objects.of("Secret"):
        yield f"{name_of(one)}: its value can be read by whoever can read this"


def all_is_in_its_namespace(objects):
    made = {one["metadata"]["name"] for one in objects.of("Namespace")}
    for one in objects.all:
        if one["kind"] != "Namespace" and namespace_of(one) not in made | OTHERS_NAMESPACES:
            yield f"{name_of(one)}: is in {namespace_of(one)}, which there is not"
    for one in objects.of("Namespace"):
        if one["metadata"]["name"] != "roster":
            yield f"{name_of(one)}: may be somebody else's, with pods that its labels would keep out"
        if one["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce") != "restricted":
            yield f"{name_of(one)}: does not enforce the restricted standard"


def budgets_and_autoscalers_have_a_subject(objects):
    for budget in objects.of("PodDisruptionBudget"):
        if not any(selects(budget["spec"]["selector"], pod.labels) for pod in objects.pods()):
            yield f"{name_of(budget)}: selects no pod"
    for scaler in objects.of("HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        found = objects.find(target["kind"], target["name"])
        if found is None:
            yield f"{name_of(scaler)}: there is no {target['kind']} {target['name']}"
        elif "replicas" in found["spec"]:
            yield f"{name_of(found)}: sets replicas, against its autoscaler"


def what_watches_is_there(objects):
    """What nothing else refers to, and whose lack would be noticed on the day that it is needed."""
    jobs = {one["metadata"]["name"] for one in objects.of("ServiceMonitor")}
    for name in sorted({"identity", "facade", "opentelemetry-collector"} - jobs):
        yield f"nobody scrapes {name}"
    for name in ("identity", "facade"):
        settings = objects.settings(objects.get("Deployment", name)["spec"]["template"]["spec"])
        if not settings.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
            yield f"{name}: its spans go nowhere"
    for file in sorted((K8S / "monitoring" / "rules").glob("*.yaml")):
        wanted = yaml.safe_load(file.read_text())
        if wanted["kind"] == "PrometheusRule" and objects.find("PrometheusRule", wanted["metadata"]["name"]) is None:
            yield f"the rules of {file.name} are not applied"
    shown = set()
    for one in objects.of("ConfigMap"):
        if one["metadata"].get("labels", {}).get("grafana_dashboard") == "1":
            shown |= set(one["data"])
    for file in sorted((K8S / "monitoring" / "dashboards").glob("*.json")):
        if file.name not in shown:
            yield f"the dashboard {file.name} is not applied"
    for cluster in objects.of("Cluster"):
        labels = {"cnpg.io/cluster": cluster["metadata"]["name"]}
        if not any(selects(one["spec"]["selector"], labels) for one in objects.of("PodMonitor")):
            yield f"nobody scrapes {name_of(cluster)}"


def the_world_reaches_the_facade(objects):
    backends = {
        path["backend"]["service"]["name"]
        for one in objects.of("Ingress")
        for rule in one["spec"]["rules"]
        for path in rule["http"]["paths"]
    }
    if backends != {"facade"}:
        yield f"the Ingresses lead to {sorted(backends)}, not to the facade alone"


def the_databases_backups_can_be_restored(objects):
    """There are some, and each has all that a restore needs: a snapshot of a running PostgreSQL is of no use without an
    archive of the log that was written meanwhile."""
    for cluster in objects.of("Cluster"):
        name = name_of(cluster)
        snapshots = cluster["spec"].get("backup", {}).get("volumeSnapshot", {})
        scheduled = [
            one["spec"]
            for one in objects.of("ScheduledBackup")
            if one["spec"]["cluster"]["name"] == cluster["metadata"]["name"] and not one["spec"].get("suspend")
        ]
        if not snapshots or not any(one.get("method") == "volumeSnapshot" for one in scheduled):
            yield f"{name}: nobody makes backups"
        archived = any(one.get("isWALArchiver") for one in cluster["spec"].get("plugins", []))
        for one in [snapshots, *scheduled]:
            if one.get("online", one is snapshots) and not archived:
                yield f"{name}: is snapshot while it runs, and no log is archived to make that whole"
        for one in [cluster["spec"].get("backup", {}), *scheduled]:
            if one.get("target", "prefer-standby") != "prefer-standby":
                yield f"{name}: its primary is stopped for a snapshot"
        if snapshots.get("snapshotOwnerReference", "none") != "none":
            yield f"{name}: its snapshots go with it"


def a_restored_database_is_told_so(objects):
    """Whoever watched events would else pass over new ones. The rest of it is as it was."""
    spec = objects.get("Job", "migration")["spec"]["template"]["spec"]
    commands = [one["args"] for one in spec.get("initContainers", []) + spec["containers"]]
    for cluster in objects.of("Cluster"):
        recovery = cluster["spec"]["bootstrap"].get("recovery")
        if recovery is None:
            continue
        if commands != [["migrate"], ["restored"]]:
            yield f"{name_of(cluster)}: is restored, and {commands} is what is run on it"
        volumes = {"storage", "walStorage"} & set(cluster["spec"])
        if set(recovery.get("volumeSnapshots", {})) != volumes:
            yield f"{name_of(cluster)}: is restored without a snapshot of each of {sorted(volumes)}"
        names = {name: one["name"] for name, one in recovery.get("volumeSnapshots", {}).items()}
        if names.get("walStorage") != names.get("storage", "") + "-wal":
            yield f"{name_of(cluster)}: is restored from two backups"
        if (recovery.get("database"), recovery.get("owner")) != ("roster", "roster"):
            yield f"{name_of(cluster)}: the operator makes no URL for the owner of the restored database"


def a_lost_machine_is_not_noticed(objects):
    """Several pods, on several machines, of which an operator's drain takes one at a time."""
    for name in ("identity", "facade"):
        deployment = objects.get("Deployment", name)
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        scaler = objects.find("HorizontalPodAutoscaler", name)
        if scaler is None or scaler["spec"]["minReplicas"] < 2:
            yield f"{name}: may run as one pod"
        if not any(selects(one["spec"]["selector"], labels) for one in objects.of("PodDisruptionBudget")):
            yield f"{name}: all of its pods may be evicted at once"
        spread = deployment["spec"]["template"]["spec"].get("topologySpreadConstraints", [])
        if {one["topologyKey"] for one in spread} != {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}:
            yield f"{name}: may run on one machine, or in one zone"
        if any(not selects(one["labelSelector"], labels) for one in spread):
            yield f"{name}: spreads the pods of somebody else"
        if any(one.get("nodeTaintsPolicy") != "Honor" for one in spread):
            yield f"{name}: a machine that takes no pods keeps them from the others"
        rolling = deployment["spec"]["strategy"]["rollingUpdate"]
        if rolling["maxUnavailable"] != 0:
            yield f"{name}: a rollout takes pods away before there are others"


def the_database_has_a_connection_for_each(objects):
    identity = objects.get("Deployment", "identity")
    pods = objects.get("HorizontalPodAutoscaler", "identity")["spec"]["maxReplicas"]
    pods += identity["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
    # And one each for its own look at the database, and for watches.
    pool = int(objects.settings(identity["spec"]["template"]["spec"])["ROSTER_DB_POOL"]) + 2
    for cluster in objects.of("Cluster"):
        most = int(cluster["spec"]["postgresql"]["parameters"]["max_connections"])
        # The migration, the operator, standbys, a person.
        if pods * pool + 20 > most:
            yield f"{name_of(cluster)}: {pods} pods times {pool} connections, of {most}"
        if cluster["spec"]["instances"] < 3 or "synchronous" not in cluster["spec"]["postgresql"]:
            yield f"{name_of(cluster)}: a lost machine loses what was acknowledged, or stops the service"


def the_databases_log_holds_no_values(objects):
    """PostgreSQL logs what is bound to a slow statement in full, unless it is told not to."""
    for cluster in objects.of("Cluster"):
        parameters = cluster["spec"]["postgresql"]["parameters"]
        for name in ("log_parameter_max_length", "log_parameter_max_length_on_error"):
            if parameters.get(name) != "0":
                yield f"{name_of(cluster)}: {name} lets what is bound to statements into the log"


def the_databases_instances_see_each_other(objects):
    """At PostgreSQL's port to replicate, and at the operator's: a primary that reaches neither the API server nor
    another instance there takes itself for cut off, and ends."""
    for cluster in objects.of("Cluster"):
        own = {"matchLabels": {"cnpg.io/cluster": cluster["metadata"]["name"]}}
        for direction in ("ingress", "egress"):
            open_ports = {
                port["port"]
                for policy in objects.of("NetworkPolicy")
                if policy["spec"]["podSelector"] == own
                for rule in policy["spec"].get(direction) or []
                if {"podSelector": own} in (rule.get("from") or rule.get("to") or [])
                for port in rule["ports"]
            }
            for port in sorted({5432, 8000} - open_ports):
                yield f"{name_of(cluster)}: no {direction} between its instances at {port}"


def the_migration_goes_first(objects):
    """It has what it needs by one label, so that it can be applied alone, and comes before the rollout."""
    job = objects.get("Job", "migration")
    if objects.settings(job["spec"]["template"]["spec"])["DATABASE_URL"] != (
        objects.settings(objects.get("Deployment", "identity")["spec"]["template"]["spec"])["DATABASE_URL"]
    ):
        yield "the migration has another database"
    images = [
        one["spec"]["template"]["spec"]["containers"][0]["image"]
        for one in (job, objects.get("Deployment", "identity"))
    ]
    if len(set(images)) != 1:
        yield f"the migration is of another release: {images}"
    needed = [job, objects.get("ServiceAccount", job["spec"]["template"]["spec"]["serviceAccountName"])]
    for source in job["spec"]["template"]["spec"]["containers"][0]["envFrom"]:
        needed.append(objects.get("ConfigMap", source["configMapRef"]["name"]))
    for one in needed:
        if one["metadata"].get("labels", {}).get("app.kubernetes.io/component") != "migration":
            yield f"{name_of(one)}: is not applied with the migration"
    waves = [wave(one) for one in (job, objects.get("Deployment", "identity"), objects.get("Deployment", "facade"))]
    if not 0 < waves[0] < min(waves[1:]):
        yield "the rollout may overtake the migration"


def wave(one):
    return int(one["metadata"].get("annotations", {}).get("argocd.argoproj.io/sync-wave", 0))


def what_leads_to_the_rollout_comes_after_it(objects):
    """Argo CD goes on when a wave is healthy; an autoscaler of nothing is not."""
    rollout = max(wave(objects.get("Deployment", name)) for name in ("identity", "facade"))
    for kind in ("HorizontalPodAutoscaler", "Ingress"):
        for one in objects.of(kind):
            if wave(one) <= rollout:
                yield f"{name_of(one)}: may come before what it leads to"


RULES = [
    what_leads_to_the_rollout_comes_after_it,
    what_is_referred_to_exists,
    files_in_settings_are_mounted,
    all_is_in_its_namespace,
    budgets_and_autoscalers_have_a_subject,
    the_migration_goes_first,
    a_restored_database_is_told_so,
]
IN_PRODUCTION = [
    no_secret_stands_in_the_repository,
    a_lost_machine_is_not_noticed,
    what_watches_is_there,
    the_world_reaches_the_facade,
    the_databases_backups_can_be_restored,
    the_database_has_a_connection_for_each,
    the_databases_log_holds_no_values,
    the_databases_instances_see_each_other,
]
