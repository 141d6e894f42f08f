"""Every kind of file of the list, under every kind of damage: nothing that is not what was written is believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fuzzing.job_files import COVERED, JOB_KINDS
from benchmarks.fuzzing.stored_kind import Files, Odd
from benchmarks.fuzzing.stored_pool import StoredPool
from infra.errors import SpeechPromptError
from orchestrator.tuning.outcomes import Outcomes
from tests.fixtures.orders import lane_outcome
from tests.fixtures.tuning import lane_spec
from workers.job_store.files import JOB_FILES, JOURNAL, RANKS_SNAPSHOT
from workers.tuning.orders import LaneOrder
from workers.tuning.results.outcome import write_outcome

FLIPS = 24
"""Of each file, spread over it, with its first and its last byte."""
AS_WRITTEN = {"examples", "sequences"}
"""Of what is told by its content, another spelling of the same is the same."""


def test_the_walk_leaves_out_nothing_of_the_list() -> None:
    # Ray Train reads the one, and tracking the other.
    assert {kind for kinds in COVERED.values() for kind in kinds} == set(JOB_FILES) - {RANKS_SNAPSHOT, JOURNAL}
    assert COVERED.keys() == JOB_KINDS.keys()


def damages(name: str, files: Files, others: Files) -> list[Files]:
    """The files, in each of which one is another one."""
    whole = files[name]
    assert isinstance(whole, bytes)
    contents: list[bytes | Odd] = list(Odd)
    for step in range(FLIPS):
        place, changed = step * (len(whole) - 1) // (FLIPS - 1), bytearray(whole)
        changed[place] ^= 1 << (step % 8)
        contents.append(bytes(changed))
    contents += [b"", whole[: len(whole) // 2], whole[:-1], whole + b"\n", whole + bytes(100_000), bytes(len(whole))]
    contents.append(others[sorted(others)[sorted(files).index(name)]])
    return [files | {name: content} for content in contents]


@pytest.mark.parametrize("kind", JOB_KINDS)
def test_nothing_damaged_is_believed(kind: str, tmp_path: Path) -> None:
    pool = StoredPool(JOB_KINDS[kind], tmp_path)
    cases = [case for name in pool.whole for case in damages(name, pool.whole, pool.others)]
    # Whatever is accepted is compared with what was written.
    accepted = [pool.check(case) for case in cases].count("accepted")
    assert len(cases) >= 35 * len(pool.whole)
    assert accepted == 0 or kind in AS_WRITTEN


@pytest.mark.parametrize("kind", JOB_KINDS)
def test_no_link_is_followed(kind: str, tmp_path: Path) -> None:
    stored, outside = JOB_KINDS[kind], tmp_path / "outside"
    place = tmp_path / "place"
    place.mkdir()
    stored.write(place, 0)
    for file in [path for path in place.rglob("*") if path.is_file()]:
        file.rename(outside)
        file.symlink_to(outside)
        found, refused = None, ""
        try:
            found = stored.read(place)
        except SpeechPromptError as error:
            refused = str(error)
        assert found is None, file
        assert "link" in refused or not refused, file
        outside.rename(file)


def test_an_outcome_that_counts_for_nothing_is_named_once(tmp_path: Path) -> None:
    said: list[str] = []
    lanes = [LaneOrder(key=key, spec=lane_spec(), run_name=f"toy {key}", params={}) for key in ("a", "b", "c")]
    root = str(tmp_path / "toy" / "lanes")
    for lane, unit_lm in zip(lanes, ("0" * 64, "0" * 64, "1" * 64), strict=True):
        write_outcome(root, lane_outcome(lane.key, lane.spec, lm_fingerprint=unit_lm), {})
    prompt = Path(root, "b", "prompt.safetensors")
    prompt.write_bytes(prompt.read_bytes() + b" ")
    outcomes = Outcomes(root, unit_lm="0" * 64, say=said.append)
    for _ in range(2):
        assert [outcomes.has_ended(lane) for lane in lanes] == [True, False, False]
        assert [outcome.key for outcome in outcomes.of(lanes)] == ["a"]
    assert said == [
        f"toy b: {prompt} is larger than the 16 bytes allowed here; running the job tunes its lane again",
        "toy c: its outcome is of another unit LM; it is tuned again",
    ]
    assert not outcomes.has_ended(lanes[0].model_copy(update={"attempt": 2}))
