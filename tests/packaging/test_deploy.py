"""The files of ``deploy/`` can be used as they are: loaded, compared, and checked by edge and systemd."""

from __future__ import annotations

import ipaddress
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import trustme
import yaml

from edge.config.check import check
from edge.config.load import read_text
from edge.config.problems import errors
from edge.providers import KNOWN
from edge.version import VERSION

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
ENVIRON = {
    "EDGE_REGION": "us-east",
    "EDGE_NODE": "edge-0",
    "EDGE_PEER_TOKEN": "0123456789abcdef0123456789abcdef",
    "EDGE_ADMIN_TOKEN": "fedcba9876543210fedcba9876543210",
    "OPENAI_API_KEY": "sk-0123456789",
}
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
OBJECTS: list[dict[str, Any]] = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "edge.yaml").read_text()))
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


def kind(name: str) -> dict[str, Any]:
    """Return the only object of this kind."""
    (found,) = [item for item in OBJECTS if item["kind"] == name]
    return found


def problems(text: str, folder: Path) -> list[str]:
    """Return what ``edge check`` reports about a configuration whose certificates are in place."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.crt"))
    issued = authority.issue_cert("edge.internal")
    issued.private_key_pem.write_to_path(str(folder / "tls.key"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "tls.crt"))
    text = text.replace("/etc/edge-tls", str(folder))
    document = read_text(text, "edge.yaml", environ=ENVIRON)
    return [problem.text("edge.yaml") for problem in errors(check(document, KNOWN))]


@pytest.mark.parametrize(
    "text",
    [(DEPLOY / "compose" / "edge.yaml").read_text(), kind("ConfigMap")["data"]["edge.yaml"]],
    ids=["compose", "kubernetes"],
)
def test_edge_takes_the_configurations(text: str, tmp_path: Path) -> None:
    """Each configuration passes ``edge check`` with its environment."""
    assert problems(text, tmp_path) == []


def test_the_manifests_trust_nobody_by_default() -> None:
    """The store is reached over TLS, edges verify each other, and neither callers nor targets are unbounded."""
    config = read_text(kind("ConfigMap")["data"]["edge.yaml"], environ=ENVIRON).config
    assert config.cluster.etcd is not None
    assert config.cluster.etcd.endpoints == ("https://etcd.etcd.svc:2379",)
    assert config.peers is not None
    assert config.peers.tls is not None
    assert not config.peers.insecure
    policy = kind("NetworkPolicy")["spec"]
    anonymous, regions = config.listen
    assert (anonymous.allow_anonymous, regions.allow_anonymous) == (True, False)
    assert [entry.client_ca is not None for entry in regions.tls] == [True]
    assert all(rule.get("from") for rule in policy["ingress"] if rule["ports"][0]["port"] != "regions")
    blocks = [to["ipBlock"] for rule in policy["egress"] for to in rule["to"] if "ipBlock" in to]
    barred = [ipaddress.ip_network(text) for block in blocks for text in block["except"]]
    assert {block["cidr"] for block in blocks} == {"0.0.0.0/0", "::/0"}
    for text in ("169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"):
        address = ipaddress.ip_address(text)
        assert any(address in network for network in barred if network.version == address.version), text


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_a_unit_bounds_memory_dumps_and_addresses(unit: Path) -> None:
    """Systemd bounds the memory of a node, writes no core of it, and keeps it from link-local addresses."""
    lines = unit.read_text().splitlines()
    assert {"LimitCORE=0", "IPAddressDeny=link-local"} <= set(lines)
    assert any(line.startswith("MemoryMax=") for line in lines)


def test_compose_names_what_there_is() -> None:
    """All named services, volumes, files and Dockerfile stages exist."""
    services = COMPOSE["services"]
    stages = re.findall(r"^FROM \S+ AS (\w+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    for name, service in services.items():
        assert set(service.get("depends_on", ())) <= set(services), name
        if "build" in service:
            assert service["build"]["target"] in stages
            assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], volume
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), f"{name} would be open to other machines"


def test_compose_and_its_configuration_agree() -> None:
    """Each host of the configuration is a service, and each region has an edge and is a peer of the others."""
    config = read_text((DEPLOY / "compose" / "edge.yaml").read_text(), environ=ENVIRON).config
    assert config.peers is not None
    regions = {
        service["environment"]["EDGE_REGION"]: name
        for name, service in COMPOSE["services"].items()
        if name.startswith("edge-")
    }
    assert {node.region: node.addresses for node in config.peers.nodes} == {
        region: (f"{name}:8080",) for region, name in regions.items()
    }
    hosts = re.findall(r"https?://([\w-]+):", (DEPLOY / "compose" / "edge.yaml").read_text())
    assert len(hosts) >= 6
    assert set(hosts) <= set(COMPOSE["services"])


def test_etcd_members_know_each_other() -> None:
    """Each member's list of members is the list of services."""
    members = {name: service for name, service in COMPOSE["services"].items() if name.startswith("etcd-")}
    listed = ",".join(f"{name}=http://{name}:2380" for name in members)
    for name, service in members.items():
        assert f"--initial-cluster={listed}" in service["command"]
        assert service["environment"]["ETCD_NAME"] == name
        assert service["environment"]["ETCD_ADVERTISE_CLIENT_URLS"] == f"http://{name}:2379"


@pytest.mark.parametrize("version", ["1.25", "1.31", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("item", OBJECTS, ids=lambda item: item["kind"])
def test_kubernetes_takes_the_objects(item: dict[str, Any], version: str) -> None:
    """Each object passes the published schemas of old and new Kubernetes, without unknown fields."""
    kubernetes_validate.validate(item, version, strict=True)


def test_kubernetes_schemas_refuse_what_is_not_there() -> None:
    """The schemas find a misspelt probe."""
    deployment = json.loads(json.dumps(kind("Deployment")))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container["readinesProbe"] = container.pop("readinessProbe")
    with pytest.raises(kubernetes_validate.ValidationError, match="readinesProbe"):
        kubernetes_validate.validate(deployment, kubernetes_validate.latest_version(), strict=True)


def test_the_image_is_of_this_version_and_of_one_user() -> None:
    """The manifest has the current version, and the user of the Dockerfile."""
    pod = kind("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"].endswith(f":{VERSION}")
    users = re.findall(r"^USER (\d+):(\d+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert set(users) == {(str(pod["securityContext"]["runAsUser"]), str(pod["securityContext"]["runAsGroup"]))}


def test_a_pod_has_as_many_workers_as_cpus() -> None:
    """A pod has a worker per requested CPU, on any machine; callers and Prometheus have access."""
    config = read_text(kind("ConfigMap")["data"]["edge.yaml"], environ=ENVIRON).config
    (container,) = kind("Deployment")["spec"]["template"]["spec"]["containers"]
    assert config.node.workers == int(container["resources"]["requests"]["cpu"])
    let_in = [port["port"] for rule in kind("NetworkPolicy")["spec"]["ingress"] for port in rule["ports"]]
    assert let_in == [port["name"] for port in container["ports"]]


def test_kubernetes_objects_fit_together() -> None:
    """Selectors find the pods, ports have existing names, volumes are mounted, and nothing runs as root."""
    deployment, service = kind("Deployment")["spec"], kind("Service")["spec"]
    pod = deployment["template"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    (container,) = pod["containers"]
    for selector in (
        deployment["selector"]["matchLabels"],
        service["selector"],
        kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        kind("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    ports = {port["name"] for port in container["ports"]}
    probes = [container[name]["httpGet"] for name in ("readinessProbe", "livenessProbe", "startupProbe")]
    assert {probe["port"] for probe in probes} | {port["targetPort"] for port in service["ports"]} <= ports
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert not container["securityContext"]["allowPrivilegeEscalation"]


def test_kubernetes_waits_for_answers_to_end() -> None:
    """A pod's grace period is longer than the node's drain."""
    config = read_text(kind("ConfigMap")["data"]["edge.yaml"], environ=ENVIRON).config
    pod = kind("Deployment")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > config.node.drain_grace / 1e9 + 30


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_units(unit: Path, tmp_path: Path) -> None:
    """A unit has settings and comments only, agrees with the other, and systemd accepts it if it is installed."""
    text = unit.read_text()
    for line in text.splitlines():
        assert re.fullmatch(r"#.*|\[\w+\]|[A-Za-z]+=.*|", line), line
    assert settings(unit) == settings(UNITS[0])
    if shutil.which("systemd-analyze") is None:
        return
    copy = tmp_path / unit.name.replace("@", "@x")
    copy.write_text(text.replace("/opt/edge/bin/edge", sys.executable))
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True, timeout=30, check=False
    )
    assert [line for line in said.stderr.splitlines() if unit.name.partition(".")[0] in line] == []


def settings(unit: Path) -> list[str]:
    """Return the settings of a unit, without those that name the instance."""
    lines = [line for line in unit.read_text().splitlines() if "=" in line and not line.startswith("#")]
    return [
        line
        for line in lines
        if not re.match(r"Description|Exec(Start=|Reload=\S*edge check)|EnvironmentFile|StateDirectory=", line)
    ]


def test_units_stop_as_the_node_drains() -> None:
    """Only the supervisor gets the signal, with a longer timeout than the default drain."""
    for unit in UNITS:
        told = dict(line.partition("=")[::2] for line in settings(unit))
        assert told["KillMode"] == "mixed"
        assert int(told["TimeoutStopSec"]) > 5 + 30
