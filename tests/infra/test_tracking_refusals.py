"""Stores that cannot be used: why, and what to do, in one sentence."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from infra.errors import TrackingError, TrackingUnreachable
from infra.tracking import check
from infra.tracking.faults import LOCK_SECONDS
from infra.tracking.mlflow_client import client
from tests.fixtures.answering import Answering


def refusal(uri: str, experiment: str | None = "toy") -> TrackingError:
    with pytest.raises(TrackingError) as refused:
        check(uri, experiment=experiment)
    assert "\n" not in str(refused.value)
    assert "; " in str(refused.value)
    return refused.value


@pytest.mark.parametrize(
    ("status", "body", "headers", "kind", "said"),
    [
        (401, "You are not authenticated.", {}, TrackingError, "(it wants a login); set MLFLOW_TRACKING_USERNAME"),
        (403, '{"error_code":"PERMISSION_DENIED","message":"x"}', {}, TrackingError, "(it refuses this account); ask"),
        (403, "Invalid Host header - possible DNS rebinding", {}, TrackingError, "start it with --allowed-hosts"),
        (
            404,
            "<html>nothing here</html>",
            {},
            TrackingError,
            "does not answer as an MLflow server does); name the serv",
        ),
        (404, '{"error_code":"ENDPOINT_NOT_FOUND"}', {}, TrackingError, "does not answer as an MLflow server does"),
        (200, "<html>Sign in</html>", {}, TrackingError, "not a page of it nor a login before it"),
        (200, "[]", {}, TrackingError, "does not answer as an MLflow server does"),
        (302, "", {"Location": "/login"}, TrackingError, "does not answer as an MLflow server does"),
        (500, "<html>oops</html>", {}, TrackingUnreachable, "(it answers 500); look after the server"),
        (502, "<html>bad gateway</html>", {}, TrackingUnreachable, "(it answers 502)"),
        (429, "slow down", {}, TrackingUnreachable, "(it answers 429)"),
    ],
)
def test_servers(
    answering: Answering, status: int, body: str, headers: dict[str, str], kind: type[TrackingError], said: str
) -> None:
    answering.answers(status, body, **headers)
    refused = refusal(answering.url)
    assert type(refused) is kind
    assert said in str(refused)


def test_addresses(answering: Answering) -> None:
    for uri, said in [
        (answering.url.replace("http", "https"), "(it speaks no TLS); write http:// instead of https://"),
        ("http://127.0.0.1:99999", "(that is no URL); write it like http://host:port"),
        ("http://nobody.invalid:5000", "start the server or correct the URI"),
        ("postgresql+nonsense://me:word@127.0.0.1/x", "write http://host:port, sqlite:///mlflow.db or postgresql"),
        ("mysql+pymysql://me:word@127.0.0.1/x", "its driver pymysql is not installed); pip install it"),
    ]:
        refused = str(refusal(uri, None))
        assert said in refused
        assert "word" not in refused


def test_files(tmp_path: Path, empty_store: Path) -> None:
    def file(name: str) -> Path:
        return Path(shutil.copyfile(empty_store, tmp_path / name))

    check(f"sqlite:///{file('good.db')}", experiment="toy")
    (tmp_path / "directory.db").mkdir()
    (tmp_path / "text.db").write_text("no database " * 50)
    torn = file("torn.db")
    torn.write_bytes(torn.read_bytes()[:100] + bytes(torn.stat().st_size - 100))
    with closing(sqlite3.connect(file("other.db"))) as other:
        other.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        other.commit()
    with closing(sqlite3.connect(file("locked.db"), isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        for name, kind, said in [
            ("directory", TrackingError, "(unable to open database file); name a file that can be read and written"),
            ("text", TrackingError, "(file is not a database); name another file"),
            ("torn", TrackingError, "(database disk image is malformed); name another file, or put back a copy of it"),
            ("other", TrackingError, "those of another MLflow, version ffffffffffff instead of"),
            ("locked", TrackingUnreachable, "(database is locked); end the program that holds it"),
        ]:
            refused = refusal(f"sqlite:///{tmp_path}/{name}.db")
            assert type(refused) is kind
            assert said in str(refused)
    assert LOCK_SECONDS < 5, "somebody looks on"


def test_places_of_artifacts(tmp_path: Path, empty_store: Path) -> None:
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    (tmp_path / "mlartifacts").write_text("a file in the way")
    assert f"{tmp_path}/mlartifacts is not a directory one can write to" in str(
        refusal(f"sqlite:///{tmp_path}/mlflow.db")
    )


def test_how_a_deleted_experiment_is_restored(tmp_path: Path, empty_store: Path) -> None:
    uri = f"sqlite:///{shutil.copyfile(empty_store, tmp_path / 'mlflow.db')}"
    store = client(uri)
    number = store.create_experiment("toy")
    store.delete_experiment(number)
    assert f"restore it by 'mlflow experiments restore --experiment-id {number}', or rename the job" in str(
        refusal(uri)
    )
