"""The container and Kubernetes files: well-formed, closed to the outside, and free of credentials."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import infra

ROOT = Path(infra.__file__).parent
SECRET = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "PASSWORD", "TOKEN")


def load(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def settings(tree: Any) -> Iterator[tuple[str, str]]:
    """Every name that has a text as its value, and the entries of ``env`` lists."""
    if isinstance(tree, dict):
        if {"name", "value"} <= tree.keys():
            yield str(tree["name"]), str(tree["value"])
        for name, value in tree.items():
            if isinstance(value, str):
                yield name, value
            yield from settings(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from settings(value)


@pytest.mark.parametrize("name", ["docker/compose.yaml", "kubernetes/rayjob.yaml"])
def test_credentials_are_referred_to_and_not_written(name: str) -> None:
    for key, value in settings(load(name)):
        if key.endswith(SECRET):
            assert value.startswith("${"), f"{name}: {key} is written out"
    values = (ROOT / "kubernetes" / "values.env").read_text(encoding="utf-8").splitlines()
    assert not [line for line in values if line.partition("=")[0].endswith(SECRET)]


def test_compose_publishes_on_this_machine_only() -> None:
    services = load("docker/compose.yaml")["services"]
    assert set(services) == {"s3", "mlflow", "head", "worker"}
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_nothing_runs_as_root_or_gains_rights() -> None:
    for name, service in load("docker/compose.yaml")["services"].items():
        assert "user" not in service, name
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    assert "\nUSER speechprompt\n" in (ROOT / "docker/Dockerfile").read_text(encoding="utf-8")


def test_mlflow_asks_for_a_password() -> None:
    compose = load("docker/compose.yaml")
    server = compose["services"]["mlflow"]
    assert "--app-name basic-auth" in server["command"]
    assert "password" not in compose["configs"]["mlflow_auth"]["content"]
    assert server["environment"]["MLFLOW_AUTH_ADMIN_PASSWORD"].startswith("${MLFLOW_PASSWORD:?")
    assert "MLFLOW_TRACKING_PASSWORD" in compose["services"]["worker"]["environment"]


def test_both_sides_of_ray_ask_for_the_token() -> None:
    services = load("docker/compose.yaml")["services"]
    for name in ("head", "worker"):
        assert services[name]["environment"]["RAY_AUTH_MODE"] == "token"
        assert services[name]["secrets"] == ["ray_token"]
    assert load("kubernetes/rayjob.yaml")["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}


def test_the_image_has_the_ray_that_the_cluster_is_started_with() -> None:
    version = load("kubernetes/rayjob.yaml")["spec"]["rayClusterSpec"]["rayVersion"]
    assert f"\nARG RAY={version}\n" in (ROOT / "docker/Dockerfile").read_text(encoding="utf-8")


def test_every_pod_has_what_a_job_needs() -> None:
    cluster = load("kubernetes/rayjob.yaml")["spec"]["rayClusterSpec"]
    pods = [group["template"]["spec"] for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]]
    generated = {config["name"] for config in load("kubernetes/kustomization.yaml")["configMapGenerator"]}
    for pod in pods:
        (container,) = pod["containers"]
        sources = container["envFrom"]
        maps = {source["configMapRef"]["name"] for source in sources if "configMapRef" in source}
        secrets = {source["secretRef"]["name"] for source in sources if "secretRef" in source}
        assert maps | {pod["volumes"][0]["configMap"]["name"]} == generated
        assert secrets == {"speechprompt-s3", "speechprompt-mlflow"}
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
