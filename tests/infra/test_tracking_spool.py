"""What lies in the spool is sent as it was written there, or set aside; one bad line or file holds up no other."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.errors import StorageError, TrackingError
from infra.tracking import Tracking
from infra.tracking.event import Header, Params, Point, document
from infra.tracking.journal import LINE_BYTES, Journal
from infra.tracking.mlflow_client import client
from infra.tracking.spool_file import seal

NOWHERE = "http://127.0.0.1:9"
STEPS = 5


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """Five points and an artifact."""
    made = Journal(Journal.place(tmp_path, "e", "k"), Header("e", "lane", "k", None))
    for step in range(STEPS):
        made.append(Point(step, {"loss": 1 / (step + 1)}))
    made.append_artifact("texts/why.md", b"patience")
    return made


def events(journal: Journal) -> list[Any]:
    return [entry.event for entry in journal.read(0) if not isinstance(entry.event, bytes)]


def test_no_bit_of_an_event_can_change(journal: Journal) -> None:
    file = journal.directory / "events"
    whole, written = file.read_bytes(), events(journal)
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        kept = events(journal)
        # A line, or two where the end of one was lost.
        assert len(written) - 2 <= len(kept) < len(written)
        assert all(event in written for event in kept)


def test_events_of_another_run_are_no_events(journal: Journal, tmp_path: Path) -> None:
    other = Journal(Journal.place(tmp_path, "e", "other"), Header("e", "other", "other", None))
    shutil.copyfile(journal.directory / "events", other.directory / "events")
    assert events(other) == []
    shutil.copyfile(journal.directory / "header", other.directory / "header")
    other.close()
    with pytest.raises(TrackingError, match="not the header of a run"):
        Journal(other.directory)


def test_malformed_lines_are_set_aside_singly(journal: Journal) -> None:
    place = journal.directory.name
    lines = [
        b"\n",
        b"no digest\n",
        b"x" * (LINE_BYTES + 10) + b"\n",
        *(
            seal(document, place)
            for document in (
                b"[" * 100_000,
                b"{}",
                b'{"kind": "point", "values": {"loss": "high"}}',
                b'{"kind": "point", "step": 9223372036854775808, "values": {"loss": 1.0}}',
                b'{"kind": "params", "values": null}',
                b'{"kind": "artifact", "path": "texts/../../x", "file": "0123456789abcdef0123456789abcdef"}',
                b'{"kind": "artifact", "path": "texts/x", "file": "../header"}',
                b'{"kind": "status", "status": "DONE"}',
                b'{"kind": "point", "more": 1}',
            )
        ),
    ]
    before = journal.size()
    with (journal.directory / "events").open("ab") as file:
        for line in lines:
            file.write(line + seal(document(Params({"after": "it"})), place))
    entries = journal.read(0)
    while more := journal.read(entries[-1].end):
        entries += more
    told = [entry.event for entry in entries if entry.start >= before]
    assert [isinstance(event, bytes) for event in told] == [True, False] * len(lines)
    assert entries[-1].end == journal.size()
    assert max(len(event) for event in told if isinstance(event, bytes)) <= 2000


REPLACEMENTS: dict[str, Callable[[Path], object]] = {
    "directory": lambda path: path.mkdir(),
    "link": lambda path: path.symlink_to("/etc/hostname"),
    "FIFO": os.mkfifo,
    "nothing": lambda _: None,
    "other": lambda path: path.write_bytes(b"other"),
}


@pytest.mark.parametrize("kind", REPLACEMENTS)
@pytest.mark.parametrize("name", ["header", "events", "sent", "live.lock"])
def test_no_file_of_a_journal_can_be_replaced(journal: Journal, name: str, kind: str) -> None:
    journal.close()
    path = journal.directory / name
    path.unlink(missing_ok=True)
    REPLACEMENTS[kind](path)
    began = time.monotonic()
    try:
        again = Journal(journal.directory, orphan=True)
    except (TrackingError, FileNotFoundError):
        assert name != "sent"
    else:
        assert again.sent().offset == 0
        assert events(again) == ([] if name == "events" else events(journal))
        again.close()
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("kind", ["directory", "link", "FIFO", "other"])
def test_only_the_content_that_was_written_is_taken(journal: Journal, tmp_path: Path, kind: str) -> None:
    event = events(journal)[-1]
    journal.take_content(event, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"patience"
    file = journal.directory / "files" / event.file
    file.unlink()
    REPLACEMENTS[kind](file)
    with pytest.raises(ValueError, match="content"):
        journal.take_content(event, tmp_path / "again")


def test_a_link_leads_nowhere(journal: Journal, tmp_path: Path) -> None:
    (journal.directory / "files").rename(tmp_path / "elsewhere")
    (journal.directory / "files").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="link"):
        journal.take_content(events(journal)[-1], tmp_path / "copy")
    journal.directory.rename(tmp_path / "moved")
    journal.directory.symlink_to(tmp_path / "moved")
    with pytest.raises(TrackingError, match="a link"):
        Journal(journal.directory)


def test_bad_lines_hold_up_none_behind_them_and_are_counted(tmp_path: Path, empty_store: Path) -> None:
    uri = f"sqlite:///{shutil.copyfile(empty_store, tmp_path / 'mlflow.db')}"
    with Tracking(uri, tmp_path / "spool", interval=60) as tracking:
        log = tracking.run("e", "lane", key="k")
        with (log.place / "events").open("ab") as file:
            file.write(b"half a li\n" + seal(b'{"kind": "point", "values": {"loss": null}}', log.place.name))
        log.text("why.md", "patience")
        log.text("else.md", "more patience")
        first = next((log.place / "files").iterdir())
        first.write_bytes(b"other")
        log.point(0, {"loss": 1.0})
        log.finish("FINISHED")
        unsent = tracking.flush()
        assert (unsent.events, unsent.refused) == (0, 3)
    store = client(uri)
    [run] = store.search_runs([store.get_experiment_by_name("e").experiment_id])
    assert run.data.metrics == {"loss": 1.0}
    assert len(store.list_artifacts(run.info.run_id, "texts")) == 1
    assert run.info.status == "FINISHED"


def test_what_waits_is_counted_whoever_wrote_it(tmp_path: Path) -> None:
    for number in range(3):
        with Tracking(NOWHERE, tmp_path, interval=60) as earlier:
            log = earlier.run("e", f"lane {number}", key=f"k{number}", params={"seed": 0})
            log.point(0, {"loss": 1.0})
            earlier.close(0)
    headless = next(tmp_path.rglob("header"))
    headless.write_bytes(b"")
    tracking = Tracking(NOWHERE, tmp_path, interval=60)
    tracking.run("e", "mine", key="mine").point(0, {"loss": 1.0})
    assert tracking.unsent().events == 1
    assert tracking.close(0).events == 7


def test_a_spool_that_others_can_write_is_not_used(tmp_path: Path) -> None:
    root = Tracking(NOWHERE, tmp_path / "spool").close(0).directory
    root.chmod(0o777)
    with pytest.raises(StorageError, match="can be written by other users"):
        Tracking(NOWHERE, tmp_path / "spool")
