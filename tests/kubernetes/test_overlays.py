"""The server's manifests: that they belong together, and fit the server."""

import ipaddress
import re
import runpy
import sys
from typing import Any

import pytest

from antbee.serving.app import KEYLESS, ROUTES
from antbee.serving.settings import read_settings
from tests.conftest import REPOSITORY
from tests.kubernetes.conftest import IMAGE, MANIFESTS, OVERLAYS, Build, Objects

SCALE = REPOSITORY / "docs/scale.md"


def one(objects: Objects, kind: str) -> dict[str, Any]:
    """Return the only object of a kind."""
    (found,) = (each for each in objects if each["kind"] == kind)
    return found


def pod(objects: Objects) -> dict[str, Any]:
    """Return the pods' own description."""
    described: dict[str, Any] = one(objects, "Deployment")["spec"]["template"]
    return described


def container(objects: Objects) -> dict[str, Any]:
    """Return the only container of the pods."""
    (found,) = pod(objects)["spec"]["containers"]
    return dict(found)


def environment(objects: Objects) -> dict[str, str]:
    """Return the container's variables, with something in the place of a secret."""
    variables = container(objects)["env"]
    names = [variable["name"] for variable in variables]
    assert len(names) == len(set(names))
    return {variable["name"]: variable.get("value", "secret") for variable in variables}


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_selector_finds_the_pods_and_nothing_else(name: str, overlay: Build) -> None:
    """Whatever selects pods names labels that the pods have; an empty selector is everybody's."""
    objects = overlay(name)
    labels = pod(objects)["metadata"]["labels"]
    selectors = [
        spread["labelSelector"]["matchLabels"]
        for spread in pod(objects)["spec"]["topologySpreadConstraints"]
    ]
    for each in objects:
        spec = each["spec"]
        if each["kind"] in ("Deployment", "PodDisruptionBudget"):
            selectors.append(spec["selector"]["matchLabels"])
        elif each["kind"] == "Service":
            selectors.append(spec["selector"])
        elif each["kind"] == "NetworkPolicy":
            selectors.append(spec["podSelector"]["matchLabels"])

    assert len(selectors) >= 3
    assert all(selectors)
    assert all(selector.items() <= labels.items() for selector in selectors)


def test_two_models_stand_behind_one_service(overlay: Build) -> None:
    """The second Deployment's pods are the Service's as well, and not the first one's."""
    first, second = overlay("ingress"), overlay("canary")
    (canary,) = second
    labels = pod(second)["metadata"]["labels"]
    mine = one(first, "Deployment")["spec"]["selector"]["matchLabels"]
    shared = [
        one(first, "Service")["spec"]["selector"],
        one(first, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        one(first, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ]

    assert canary["metadata"]["name"] != one(first, "Deployment")["metadata"]["name"]
    assert not mine.items() <= labels.items()
    assert all(selector.items() <= labels.items() for selector in shared)
    assert canary["spec"]["replicas"] == 1
    assert environment(second) == environment(first)  # who needs a key, needs it there


@pytest.mark.parametrize("name", OVERLAYS)
def test_what_is_named_is_there(name: str, overlay: Build) -> None:
    """Every name of a port, a Service or a Deployment is that of one."""
    objects = overlay(name)
    found = container(objects)
    ports = {port["name"]: port["containerPort"] for port in found["ports"]}
    names = {each["kind"]: each["metadata"]["name"] for each in objects}
    probes = [found[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")]
    annotations = pod(objects)["metadata"]["annotations"]
    routes = {route.path for route in ROUTES}

    assert found["image"] == IMAGE
    assert str(ports["http"]) == environment(objects)["PORT"] == annotations["prometheus.io/port"]
    assert {probe["port"] for probe in probes} <= ports.keys()
    assert {probe["path"] for probe in probes} <= KEYLESS  # the kubelet has no key
    assert {*(probe["path"] for probe in probes), annotations["prometheus.io/path"]} <= routes
    mounts = {mount["name"] for mount in found["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod(objects)["spec"]["volumes"]}
    for each in objects:
        spec = each["spec"]
        if each["kind"] == "Service":
            assert {port["targetPort"] for port in spec["ports"]} <= ports.keys()
        elif each["kind"] in ("HorizontalPodAutoscaler", "ScaledObject"):
            target = spec["scaleTargetRef"]
            assert names[target.get("kind", "Deployment")] == target["name"]
            assert "replicas" not in one(objects, "Deployment")["spec"]
        elif each["kind"] == "Ingress":
            (rule,) = spec["rules"]
            service = rule["http"]["paths"][0]["backend"]["service"]
            assert service["name"] == names["Service"]
            offered = {port["name"] for port in one(objects, "Service")["spec"]["ports"]}
            assert service["port"]["name"] in offered
            assert spec["tls"][0]["hosts"] == [rule["host"]]
        elif each["kind"] == "NetworkPolicy":
            (who,) = spec["ingress"]
            assert {port["port"] for port in who["ports"]} <= ports.keys()
            assert set(spec["policyTypes"]) == {"Ingress", "Egress"}


@pytest.mark.parametrize("name", OVERLAYS)
def test_environment_is_the_servers(
    name: str, overlay: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server takes the variables; a node's cores change nothing, and the memory is enough."""
    variables = environment(overlay(name))
    resources = container(overlay(name))["resources"]
    gibibytes = int(resources["limits"]["memory"].removesuffix("Gi"))
    monkeypatch.setattr("sys.path", [*sys.path])  # gunicorn's settings add to it
    monkeypatch.setattr("antbee.machine.memory_limit", lambda: gibibytes << 30)
    seen = []
    for cores in (1, 64):
        monkeypatch.setattr("antbee.machine.cores", lambda cores=cores: cores)
        monkeypatch.setattr("os.environ", given := dict(variables))
        runpy.run_path(str(REPOSITORY / "heroku/gunicorn.conf.py"))
        seen.append(read_settings(given))

    assert seen[0] == seen[1]
    assert seen[0].workers * seen[0].threads == int(resources["requests"]["cpu"])
    assert seen[0].max_megapixels == 50
    assert resources["limits"].keys() == {"memory"}
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    assert seen[0].allow_urls == (name in ("ingress", "canary"))
    # Services of the namespace become variables otherwise, and some would be no settings.
    assert pod(overlay(name))["spec"]["enableServiceLinks"] is False


@pytest.mark.parametrize("name", OVERLAYS)
def test_time_to_stop_adds_up(name: str, overlay: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod that goes waits for the proxies, then answers what it has, and all that is granted."""
    monkeypatch.setattr("sys.path", [*sys.path])  # gunicorn's settings add to it
    monkeypatch.setattr("os.environ", given := environment(overlay(name)))
    conf = runpy.run_path(str(REPOSITORY / "heroku/gunicorn.conf.py"))
    notice = runpy.run_path(str(REPOSITORY / "heroku/worker.py"))["NOTICE"]
    waits = container(overlay(name))["lifecycle"]["preStop"]["sleep"]["seconds"]
    granted = pod(overlay(name))["spec"]["terminationGracePeriodSeconds"]

    assert float(given["ANTBEE_TIMEOUT"]) < conf["graceful_timeout"]
    assert waits + notice + conf["graceful_timeout"] < granted
    assert waits >= 10
    update = one(overlay(name), "Deployment")["spec"]["strategy"]["rollingUpdate"]
    assert update == {"maxUnavailable": 0, "maxSurge": 1}


def test_addresses_are_the_worlds(overlay: Build) -> None:
    """Where pictures are fetched by address, no address of the cluster's own can be."""
    policy = one(overlay("ingress"), "NetworkPolicy")["spec"]
    names, world = policy["egress"]
    blocks = [
        (ipaddress.ip_network(block["cidr"]), [ipaddress.ip_network(n) for n in block["except"]])
        for block in (each["ipBlock"] for each in world["to"])
    ]

    def allowed(address: str) -> bool:
        ip = ipaddress.ip_address(address)
        return any(
            ip in network and not any(ip in inner for inner in without)
            for network, without in blocks
        )

    assert {port["port"] for port in names["ports"]} == {53}
    assert world["ports"] == [{"port": 443, "protocol": "TCP"}]
    assert allowed("93.184.216.34")
    assert allowed("2606:2800:220:1::1")
    for inside in ("10.0.0.1", "172.20.0.1", "192.168.1.1", "169.254.169.254", "fd00:ec2::254"):
        assert not allowed(inside), inside
    base = one(overlay("cpu"), "NetworkPolicy")["spec"]
    assert "egress" not in base


def test_who_sends_the_requests_is_to_be_changed(overlay: Build) -> None:
    """Whoever may ask in every overlay may behind an Ingress, too; the document names the other."""

    def namespaces(name: str) -> set[str]:
        (rule,) = one(overlay(name), "NetworkPolicy")["spec"]["ingress"]
        everyone, others = rule["from"]
        assert everyone == {"podSelector": {}}
        selector = others["namespaceSelector"]
        key = "kubernetes.io/metadata.name"
        if "matchLabels" in selector:
            return {selector["matchLabels"][key]}
        (expression,) = selector["matchExpressions"]
        assert (expression["key"], expression["operator"]) == (key, "In")
        return set(expression["values"])

    assert namespaces("cpu") < namespaces("ingress")
    (controller,) = namespaces("ingress") - namespaces("cpu")
    assert f"`{controller}`" in SCALE.read_text()


def test_no_number_is_an_error(overlay: Build) -> None:
    """KEDA takes no metrics for none in flight otherwise, and its fallback for errors alone."""
    scaled = one(overlay("keda"), "ScaledObject")["spec"]
    (trigger,) = scaled["triggers"]

    assert trigger["metadata"]["ignoreNullValues"] == "false"
    assert scaled["minReplicaCount"] < scaled["fallback"]["replicas"] < scaled["maxReplicaCount"]


def test_the_way_back_deletes_the_second_model_alone() -> None:
    """In whatever overlay's folder somebody stands, what is deleted is the canary's."""
    notes = MANIFESTS / "overlays/canary/kustomization.yaml"
    for document in (SCALE, notes):
        deleted = re.findall(r"kubectl delete -k ([\w./]+)", document.read_text())
        assert set(deleted) == {"../canary"}, document
