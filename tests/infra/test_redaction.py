"""No credential in what is shown or stored."""

from __future__ import annotations

import json

import pytest

from infra.errors import JobError, StorageError
from infra.redaction import holds_credentials, redacted, without_user_info
from infra.uris import resolve
from orchestrator.cluster.ray_jobs import submit_job
from tests.fixtures.orders import gang_order

SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"http://me:{SECRET}@host:5000/api failed",
        f"http://me:a@{SECRET}@host:5000",
        f"postgresql://host/db?user=me&password={SECRET}",
        f"bearer {SECRET} refused",
        f"two: https://{SECRET}@a and https://b:{SECRET}@c",
    ],
)
@pytest.mark.parametrize("variable", ["MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY", "RAY_AUTH_TOKEN"])
def test_redacted(text: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, SECRET)
    assert SECRET not in redacted(text)


@pytest.mark.parametrize("text", ["s3://bucket/key@home", "/data/a@b.wav", "someone@host", "http://host:5000/#x"])
def test_what_holds_none_stays(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "k")
    assert redacted(text) == without_user_info(text) == text
    assert not holds_credentials(text)


def test_an_s3_name_with_credentials_is_refused_without_repeating_them() -> None:
    with pytest.raises(StorageError, match="set AWS_ACCESS_KEY_ID") as error:
        resolve(f"s3://key:{SECRET}@bucket/x", "/")
    assert SECRET not in str(error.value)


def test_an_order_as_json_holds_no_credentials() -> None:
    uri = f"http://me:{SECRET}@host"
    order = gang_order([], "/outcomes", tracking=uri)
    assert order.tracking == uri
    assert (
        json.loads(order.model_dump_json())["tracking"]
        == order.model_dump(mode="json")["tracking"]
        == "http://***@host"
    )


@pytest.mark.parametrize(
    ("overrides", "environment"),
    [
        ([f"tracking=http://me:{SECRET}@host"], []),
        ([f"tracking=mysql://host/db?password={SECRET}"], []),
        ([], [f"AWS_SECRET_ACCESS_KEY={SECRET}"]),
        ([], [f"ROOT=http://me:{SECRET}@host"]),
    ],
)
def test_no_secret_is_handed_to_ray(overrides: list[str], environment: list[str]) -> None:
    with pytest.raises(JobError, match="which Ray would store and show; set") as error:
        submit_job(
            "job.yaml", overrides, address=None, retry_failed=False, restart=False, grace=30, environment=environment
        )
    assert SECRET not in str(error.value)
