"""Object storage and bundles through a proxy that misbehaves, before a real S3 server."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest

from infra import object_storage as storage
from infra.conditional_writes import PROBE, require_conditional_writes
from infra.errors import StorageError, StoreUnreachable
from infra.local_cluster.service import free_port
from infra.s3_client import client
from tests.fixtures.bundles import random_bundle
from tests.fixtures.command_line import speechprompt
from tests.fixtures.faulty_proxy import Condition, Fault, FaultyProxy
from tests.fixtures.s3_server import S3Server
from workers.bundle.listing import list_bundles
from workers.bundle.publish import publish
from workers.bundle.read import read, verify

SMALL, LARGE = b"content" * 100, os.urandom(1 << 20) * 9


@pytest.fixture
def proxy(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    with FaultyProxy(s3.service.url) as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", made.url)
        yield made


@pytest.fixture
def root(proxy: FaultyProxy, s3: S3Server) -> str:  # noqa: ARG001
    return s3.fresh_prefix()


FAULTS = [
    Fault("delay", seconds=0.1),
    Fault("answer", status=500, code="InternalError"),
    Fault("answer", status=503, code="ServiceUnavailable", times=2),
    Fault("answer", method="PUT", status=503, code="SlowDown"),
    Fault("cut request", method="PUT", times=2),
    Fault("cut answer", method="GET", times=2),
    Fault("drop answer", times=2),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.kind} {fault.code}")
def test_what_passes_by_is_waited_for(fault: Fault, proxy: FaultyProxy, root: str) -> None:
    uri = f"{root}/file"

    def again() -> None:
        proxy.faults = [Fault(**{**vars(fault), "met": 0})]

    again()
    storage.write_bytes(uri, SMALL)
    again()
    assert storage.read_bytes(uri) == SMALL
    again()
    assert storage.exists(uri)
    again()
    assert storage.list_files(root) == ["file"]
    again()
    data, version = storage.read_versioned(uri)
    again()
    assert storage.write_if_version(uri, data + b"2", version)
    again()
    assert storage.write_if_absent(f"{root}/other", SMALL)
    assert not storage.write_if_absent(f"{root}/other", b"foreign")
    assert storage.read_bytes(uri) == SMALL + b"2"


@pytest.mark.parametrize(
    "fault", [Fault("cut request", method="PUT", times=3), Fault("cut answer", method="GET", times=3)]
)
def test_a_transfer_in_parts_outlives_broken_connections(
    fault: Fault, proxy: FaultyProxy, root: str, tmp_path: Path
) -> None:
    (tmp_path / "source").write_bytes(LARGE)
    proxy.faults = [fault]
    storage.upload(str(tmp_path / "source"), f"{root}/large")
    storage.download(f"{root}/large", str(tmp_path / "target"))
    assert fault.met == 3
    assert (tmp_path / "target").read_bytes() == LARGE


def test_a_server_that_is_down_for_a_while_is_waited_for_by_all_threads(
    proxy: FaultyProxy, root: str, caplog: pytest.LogCaptureFixture
) -> None:
    """More repeats than botocore's quota of one client pays for."""
    storage.write_bytes(f"{root}/file", SMALL)
    with ThreadPoolExecutor(12) as pool, proxy.down(seconds=3.0):
        assert list(pool.map(storage.read_bytes, [f"{root}/file"] * 12)) == [SMALL] * 12
    assert f"{proxy.url} does not answer; waiting for it" in caplog.text
    assert f"{proxy.url} answers again" in caplog.text


def test_the_server_of_plans_is_not_waited_for(proxy: FaultyProxy, root: str) -> None:
    storage.check(root)
    proxy.faults = [Fault("answer", times=2)]
    storage.check(root)
    began = len(proxy.requests)
    proxy.faults = [Fault("answer", times=None)]
    with pytest.raises(StoreUnreachable, match=f"{proxy.url} answered ServiceUnavailable"):
        storage.check(root)
    assert len(proxy.requests) - began == 6


@pytest.mark.parametrize("attempts", ["1", "3"])
def test_attempts_are_the_users_to_choose(
    attempts: str, proxy: FaultyProxy, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", attempts)
    proxy.faults = [Fault("answer", times=None)]
    with pytest.raises(StorageError, match="ServiceUnavailable"):
        storage.read_bytes(f"{root}/file")
    assert len(proxy.requests) == int(attempts)


def test_what_waiting_does_not_mend_is_told_at_once(
    proxy: FaultyProxy, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StorageError, match="no bucket 'no-such-bucket'"):
        storage.write_bytes("s3://no-such-bucket/file", b"")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StorageError, match="AWS_SECRET_ACCESS_KEY"):
        storage.write_bytes(f"{root}/file", b"")
    assert len(proxy.requests) == 2


@pytest.mark.parametrize("lost", [1, 3])
def test_a_conditional_write_whose_answer_is_lost_is_known_as_ones_own(
    lost: int, proxy: FaultyProxy, root: str
) -> None:
    uri = f"{root}/file"
    proxy.faults = [Fault("drop answer", condition="any", times=lost)]
    assert storage.write_if_absent(uri, b"ours")
    proxy.faults = [Fault("drop answer", condition="any", times=lost)]
    assert not storage.write_if_absent(uri, b"theirs")
    version = storage.read_versioned(uri)[1]
    proxy.faults = [Fault("drop answer", condition="any", times=lost)]
    assert storage.write_if_version(uri, b"newer", version)
    proxy.faults = [Fault("drop answer", condition="any", times=lost)]
    assert not storage.write_if_version(uri, b"from the past", version)
    proxy.faults = []
    assert not storage.write_if_absent(uri, b"newer"), "found at once, so another's"
    assert storage.read_bytes(uri) == b"newer"


def test_a_bundle_is_published_once_whatever_answer_is_lost(proxy: FaultyProxy, root: str) -> None:
    writes = 0
    while True:
        proxy.faults = [Fault("drop answer", condition="any", skip=writes)]
        published = publish(root, random_bundle(seed=writes))
        assert published.created
        assert verify(f"{root}/toy-task").uri == published.uri
        if not proxy.faults[0].met:
            break
        writes += 1
    assert writes == 4, "two files, the manifest and the pointer"


def test_publishers_that_lose_answers_leave_one_bundle(proxy: FaultyProxy, root: str) -> None:
    proxy.faults = [Fault("drop answer", condition="any", skip=skip) for skip in range(0, 12, 3)]
    bundles = [random_bundle(run_id=f"run {index}") for index in range(6)]
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda bundle: publish(root, bundle), bundles))
    assert [result.created for result in results].count(True) == 1
    assert len({result.uri for result in results}) == len(list_bundles(root)) == 1
    winner = next(index for index, result in enumerate(results) if result.created)
    assert read(results[0].uri).manifest.provenance.run_id == f"run {winner}"


def test_a_store_without_conditions_refuses(proxy: FaultyProxy, root: str) -> None:
    proxy.faults = [Fault("answer", condition="any", status=501, code="NotImplemented", times=None)]
    with pytest.raises(StorageError, match="has no conditional writes"):
        storage.write_if_absent(f"{root}/file", b"")
    with pytest.raises(StorageError, match="has no conditional writes"):
        require_conditional_writes(root)


@pytest.mark.parametrize("ignored", ["If-None-Match", "If-Match"])
def test_a_store_that_ignores_conditions_is_found_out(ignored: str, proxy: FaultyProxy, root: str) -> None:
    require_conditional_writes(root)
    require_conditional_writes(root)
    assert storage.list_files(root) == [PROBE]
    proxy.faults = [Fault("ignore conditions", condition=cast(Condition, ignored.lower()), times=None)]
    with pytest.raises(StorageError, match=f"ignores {ignored}, which keeps two writers apart"):
        require_conditional_writes(root)


def test_probers_do_not_disturb_each_other(root: str) -> None:
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(require_conditional_writes, [root] * 3))


def test_arrow_waits_too_also_after_it_was_pickled(proxy: FaultyProxy, root: str) -> None:
    """More often than the three attempts of Arrow's own."""
    filesystem, path = storage.arrow_filesystem(root)
    filesystem = pickle.loads(pickle.dumps(filesystem))  # noqa: S301
    proxy.faults = [Fault("answer", times=3), Fault("cut request", method="PUT"), Fault("cut answer", method="GET")]
    with filesystem.open_output_stream(f"{path}/file") as stream:
        stream.write(SMALL)
    with filesystem.open_input_stream(f"{path}/file") as stream:
        assert stream.read() == SMALL
    assert [fault.met for fault in proxy.faults] == [3, 1, 1]


def test_arrow_is_not_told_the_password_of_an_endpoint(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", os.environ["AWS_ENDPOINT_URL_S3"].replace("://", "://me:hunter2@"))
    filesystem, path = storage.arrow_filesystem(root)
    assert b"hunter2" not in pickle.dumps(filesystem)
    filesystem.create_dir(path, recursive=True)


def test_who_looks_on_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    for command in (("verify", "s3://prompts/wake-word"), ("list", "s3://prompts")):
        done = speechprompt("bundle", *command)
        assert done.code == 2
        assert "is out of reach: no answer from http://127.0.0.1" in done.stderr
        assert "waiting for it" not in done.stderr
    with storage.impatient():
        assert client() is client(patient=False)
    assert client() is not client(patient=False)
