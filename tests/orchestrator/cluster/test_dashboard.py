"""What a Ray dashboard, or something else at its address, says to a job that is submitted."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray._private.runtime_env import packaging

from infra.errors import JobError
from orchestrator.cluster.dashboard import dashboard_address, dashboard_client, dashboard_explained
from orchestrator.cluster.ray_jobs import excludes, require_small
from tests.fixtures.answering import Answering
from tests.fixtures.command_line import speechprompt


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        # Set, so that what the client sets is taken back.
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")


def refusal(address: str) -> str:
    with pytest.raises(JobError) as refused:
        dashboard_client(address)
    said = str(refused.value)
    assert "\n" not in said
    assert "; " in said
    return said


@pytest.mark.parametrize(
    "address",
    ["auto", "head", "ray://head:10001", "os://x", "http://", "http://host:port", "ftp://host", "http://host:99999"],
)
def test_no_addresses_of_a_dashboard(address: str) -> None:
    assert f"{address} is not the address of a Ray dashboard, like http://127.0.0.1:8265; give --address" in refusal(
        address
    )


def test_the_address_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dashboard_address(None) == "http://127.0.0.1:8265"
    monkeypatch.setenv("RAY_ADDRESS", "https://ray.example.org/")
    assert dashboard_address(None) == "https://ray.example.org/"
    assert dashboard_address("head:8265") == "head:8265"


@pytest.mark.parametrize(
    ("status", "body", "headers", "said"),
    [
        (200, "<html>login</html>", {}, "is not a Ray dashboard; give the dashboard's own address"),
        (200, "{}", {}, "is not a Ray dashboard"),
        (404, "not found", {}, "is not a Ray dashboard"),
        (302, "", {"Location": "/login"}, "is not a Ray dashboard"),
        (401, "token", {}, "put the cluster's token into RAY_AUTH_TOKEN"),
        (403, "token", {}, "put the cluster's token into RAY_AUTH_TOKEN"),
        (500, "oops", {}, "fails (500); check the cluster"),
        (502, "<html>bad gateway</html>", {}, "fails (502)"),
    ],
)
def test_answers(answering: Answering, status: int, body: str, headers: dict[str, str], said: str) -> None:
    answering.answers(status, body, **headers)
    assert said in refusal(answering.url)


def test_nobody_and_no_tls(answering: Answering) -> None:
    assert "no Ray dashboard answers at http://127.0.0.1:9 (" in refusal("http://127.0.0.1:9")
    assert "no Ray cluster answers at nobody.invalid:8265 (" in refusal("nobody.invalid:8265")
    # Ray's client takes an error of TLS for one of the connection, and keeps its reason to itself.
    assert "no Ray dashboard answers at https://" in refusal(answering.url.replace("http", "https"))


def test_a_port_is_no_status() -> None:
    where = "http://127.0.0.1:40431"
    with pytest.raises(JobError, match="no Ray dashboard answers at"), dashboard_explained(where):
        raise ConnectionError(f"Failed to connect to Ray at address: {where}.")


def test_a_directory_that_is_too_large_is_not_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaging, "GCS_STORAGE_MAX_SIZE", 3 << 20)
    (tmp_path / "corpus").mkdir()
    for name, size in {"corpus/a.wav": 2, "corpus/b.wav": 3, "c.bin": 1, "runs/lane": 9, ".git/pack": 9}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size << 20))
    with pytest.raises(JobError) as refused:
        require_small(str(tmp_path), excludes("job.yaml"))
    said = str(refused.value)
    assert "3 files of 6 MiB would be shipped, but Ray takes at most 3 MiB; list files that the job does not" in said
    assert said.endswith("the largest are corpus/b.wav (3 MiB), corpus/a.wav (2 MiB), c.bin (1 MiB)")
    (tmp_path / ".rayignore").write_text("corpus/\n")
    require_small(str(tmp_path), excludes("job.yaml"))


def test_the_command_says_it_in_one_line(answering: Answering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.yaml").write_text("backbone: b\ntasks: t.yaml\n")
    answering.answers(200, "<html>login</html>")
    done = speechprompt("submit", "job.yaml", "--address", answering.url)
    assert (done.code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "is not a Ray dashboard" in done.stderr
