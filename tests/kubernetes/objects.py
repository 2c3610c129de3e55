"""The objects of an overlay, and what belongs together among them."""

import copy
from dataclasses import dataclass

import yaml


@dataclass
class Pod:
    """A pod as some object makes it."""

    owner: str
    kind: str
    namespace: str
    labels: dict
    spec: dict

    @property
    def containers(self):
        return self.spec.get("initContainers", []) + self.spec["containers"]

    def ports(self):
        """The ports of all containers, by name and by number."""
        known = {}
        for container in self.containers:
            for port in container.get("ports", []):
                known[port["containerPort"]] = port["containerPort"]
                if "name" in port:
                    known[port["name"]] = port["containerPort"]
        return known


class Objects:
    """What `kustomize build` printed."""

    def __init__(self, listed):
        self.all = listed

    @classmethod
    def read(cls, text):
        return cls([one for one in yaml.safe_load_all(text) if one is not None])

    def copy(self):
        return Objects(copy.deepcopy(self.all))

    def of(self, kind):
        return [one for one in self.all if one["kind"] == kind]

    def find(self, kind, name):
        """The object, or None. A generated name is found by what it begins with."""
        for one in self.of(kind):
            known = one["metadata"]["name"]
            if known == name or (kind in ("ConfigMap", "Secret") and known.rpartition("-")[0] == name):
                return one
        return None

    def get(self, kind, name):
        found = self.find(kind, name)
        assert found is not None, f"there is no {kind} {name}"
        return found

    def pods(self):
        made = []
        for one in self.all:
            if one["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
                template = one["spec"]["template"]
            elif one["kind"] == "CronJob":
                template = one["spec"]["jobTemplate"]["spec"]["template"]
            elif one["kind"] == "Pod":
                template = one
            else:
                continue
            labels = template["metadata"].get("labels", {})
            made.append(Pod(name_of(one), one["kind"], namespace_of(one), labels, template["spec"]))
        return made

    def selectable(self):
        """Every pod as its owner, namespace and labels, those that an operator makes included."""
        made = [(pod.owner, pod.namespace, pod.labels) for pod in self.pods()]
        made += [
            (name_of(one), namespace_of(one), {"cnpg.io/cluster": one["metadata"]["name"]})
            for one in self.of("Cluster")
        ]
        return made

    def settings(self, pod_spec):
        """The environment of the first container: a value, or (secret, key). What it has from its own pod, such as its
        name, is for other values to be made of, and is not among them."""
        found = {}
        container = pod_spec["containers"][0]
        for source in container.get("envFrom", []):
            found |= self.get("ConfigMap", source["configMapRef"]["name"]).get("data", {})
        for variable in container.get("env", []):
            if "value" in variable:
                found[variable["name"]] = variable["value"]
            elif "fieldRef" not in variable["valueFrom"]:
                reference = variable["valueFrom"]["secretKeyRef"]
                found[variable["name"]] = (reference["name"], reference["key"])
        return found


def namespace_of(one):
    return one["metadata"].get("namespace", "default")


def name_of(one):
    return f"{one['kind']} {one['metadata']['name']}"


def rules_of(policy):
    """Each rule of a policy: whether it is one for what comes in, its peers, its ports."""
    for rule in policy["spec"].get("ingress") or []:
        yield "in", rule.get("from"), rule.get("ports")
    for rule in policy["spec"].get("egress") or []:
        yield "out", rule.get("to"), rule.get("ports")


def selects(selector, labels):
    """Whether a label selector takes these labels; an empty one takes all."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for expression in selector.get("matchExpressions") or []:
        has = expression["key"] in labels
        listed = labels.get(expression["key"]) in expression.get("values", [])
        holds = {"In": listed, "NotIn": not listed, "Exists": has, "DoesNotExist": not has}
        if not holds[expression["operator"]]:
            return False
    return True
