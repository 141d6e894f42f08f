"""What lanes and pretraining leave: examples, outcomes and checkpoints, as kinds of stored files."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.fuzzing.stored_kind import StoredKind
from infra import object_storage
from task_specs.example import Split
from tests.fixtures.bundles import random_bundle
from tests.fixtures.chain import chain, pretraining
from tests.fixtures.gang_bench import SHARED
from tests.fixtures.orders import gang_order, lane_outcome
from tests.fixtures.tuning import lane_spec, toy_examples
from workers.bundle.first_publication import as_first_made, first_made
from workers.evaluation.detection_files import DET_FILE, SCORES_FILE
from workers.evaluation.metrics import Predictions
from workers.evaluation.unit_use import UnitUse
from workers.job_store.files import (
    CHECKPOINT,
    CHECKPOINT_PART,
    CLASS_SCORES,
    DETECTION,
    EXAMPLES,
    HEARD,
    OUTCOME,
    PRETRAINING,
    PRETRAINING_PART,
    PROMPT,
    PUBLISHED,
    SEQUENCES,
    UNIT_USE,
    JobFile,
)
from workers.prompting.examples import TaskExamples
from workers.speech.sequences import UnitSequences
from workers.tuning.lane_examples import stored_examples
from workers.tuning.lane_spec import LaneSpec
from workers.tuning.orders import LaneOrder
from workers.tuning.results.class_scores import CLASS_SCORES_FILE, ClassScores, read_class_scores
from workers.tuning.results.heard_file import HEARD_FILE, HeardExample, heard_bytes, read_heard
from workers.tuning.results.outcome import (
    read_outcome,
    read_outcome_file,
    read_outcome_tensors,
    write_outcome,
)
from workers.tuning.results.unit_use_file import UNIT_USE_FILE, LaneUnitUse, read_unit_use, unit_use_bytes
from workers.tuning.run.session import GangSession
from workers.unit_lm.pretrain_rank import load_pretraining, read_sequences, save_pretraining, write_sequences
from workers.unit_lm.pretraining import Pretraining

_KEY: Final = "k" * 32


@cache
def _examples(number: int) -> TaskExamples:
    return toy_examples(rows=6, seed=number)


def _spec(root: Path, number: int = 0) -> LaneSpec:
    digest = _examples(number).digest()
    return lane_spec().model_copy(
        update={"examples": str(root / "examples" / f"{digest}.safetensors"), "examples_digest": digest}
    )


def _write_examples(place: Path, number: int) -> None:
    object_storage.write_addressed(_spec(place, number).examples, _examples(number).to_bytes())


def _read_examples(place: Path) -> str:
    return stored_examples(_spec(place)).digest()


@cache
def _sequences(number: int) -> dict[str, UnitSequences]:
    return {"train": chain(5, seed=number), "valid": chain(3, seed=number + 2)}


@cache
def _sequences_name() -> str:
    with tempfile.TemporaryDirectory() as directory:
        return object_storage.basename(write_sequences(directory, _sequences(0)))


def _read_sequences(place: Path) -> object:
    found = read_sequences(str(place / "units" / _sequences_name()))
    return {
        (split, name): (str(array.dtype), array.tobytes())
        for split, part in found.items()
        for name, array in part.arrays().items()
    }


def _lanes(place: Path, number: int = 0) -> str:
    return str(place / "runs" / f"job{number}" / "lanes")


def _class_scores(rng: np.random.Generator) -> ClassScores:
    labels = np.arange(4)[:, None] % 2
    splits: tuple[Split, ...] = ("valid", "test")
    scores = {split: Predictions([rng.random((4, 2)).astype(np.float32)], labels) for split in splits}
    return ClassScores(scores, labels[:, 0])


def _write_outcome(place: Path, number: int) -> None:
    rng = np.random.default_rng(number)
    use = LaneUnitUse([UnitUse(rng.random((2, 3)), rng.random((2, 3)))], np.array([-1, 0, 1]))
    figures = {split: {"accuracy": float(rng.random())} for split in ("valid", "test")}
    write_outcome(
        _lanes(place, number),
        lane_outcome(_KEY, lane_spec(), figures=figures),
        {"prompt.keys": rng.standard_normal((2, 3, 4)).astype(np.float32)},
        {
            UNIT_USE_FILE: unit_use_bytes(use),
            CLASS_SCORES_FILE: _class_scores(rng).to_bytes(),
            HEARD_FILE: heard_bytes([[HeardExample(1, np.arange(4, dtype=np.int16), rng.random(4, np.float32))]]),
            SCORES_FILE: b"a\t%d\n" % number,
            DET_FILE: b"0\t%d\n" % number,
        },
    )


def _read_outcome(place: Path) -> object:
    root = _lanes(place)
    outcome = read_outcome(root, _KEY)
    if outcome is None:
        return None
    use, scores = read_unit_use(root, outcome), read_class_scores(root, outcome)
    return (
        outcome.model_dump(mode="json"),
        {name: tensor.tolist() for name, tensor in read_outcome_tensors(root, outcome).items()},
        use and [slot.importance.tolist() for slot in use.slots],
        scores and scores.to_bytes(),
        heard_bytes(read_heard(root, outcome) or []),
        read_outcome_file(root, outcome, SCORES_FILE),
    )


@cache
def _gang_lanes(number: int) -> list[LaneOrder]:
    root = Path(tempfile.mkdtemp(prefix="spfuzz"))
    lanes = []
    for seed in range(2):
        spec = _spec(root, number).model_copy(update={"seed": seed})
        object_storage.write_addressed(spec.examples, _examples(number).to_bytes())
        lanes.append(LaneOrder(key=f"{number}-{seed}", spec=spec, run_name=f"s{seed}", params={}))
    return lanes


def _gang_session(number: int, outcomes: str) -> GangSession:
    return GangSession(gang_order(_gang_lanes(number), outcomes), lm=SHARED.attach(), shared=SHARED, tracking=None)


def _checkpoint(place: Path) -> Path:
    return place / "tune-0" / "gang000" / "checkpoint_000001"


def _write_checkpoint(place: Path, number: int) -> None:
    run = _gang_session(number, str(place / "lanes"))
    run.step()
    _checkpoint(place).mkdir(parents=True)
    run.save(_checkpoint(place))


@cache
def _fresh_run() -> GangSession:
    return _gang_session(0, "/nonexistent")


def _read_checkpoint(place: Path) -> dict[str, bytes]:
    """What a run that took it up would save again."""
    run = _fresh_run()
    run.load(_checkpoint(place))
    with tempfile.TemporaryDirectory() as directory:
        run.save(Path(directory))
        return {file.name: file.read_bytes() for file in Path(directory).iterdir()}


def _write_pretraining(place: Path, number: int) -> None:
    run = pretraining(seed=number)
    for step in range(1, number + 2):
        run.advance()
        run.best.judge(step, 9.5)
    _checkpoint(place).mkdir(parents=True)
    save_pretraining(run, _checkpoint(place), f"tiny/pretrain-{number}")


@cache
def _fresh_pretraining() -> Pretraining:
    return pretraining(seed=0)


def _read_pretraining(place: Path) -> object:
    run = _fresh_pretraining()
    load_pretraining(run, _checkpoint(place), "tiny/pretrain-0")
    state = run.state()
    moments = [entry[name].tolist() for entry in state["optimizer"]["state"].values() for name in sorted(entry)]
    return state["step"], state["best"], moments, {name: values.tolist() for name, values in state["lm"].items()}


def _lane(place: Path, number: int = 0) -> str:
    return str(place / f"job{number}" / "lanes" / _KEY)


LANE_KINDS: Final[dict[str, StoredKind]] = {
    "examples": StoredKind("encoded examples of a task", _write_examples, _read_examples),
    "sequences": StoredKind(
        "units to pretrain on",
        lambda place, number: write_sequences(str(place / "units"), _sequences(number)),
        _read_sequences,
    ),
    "outcome": StoredKind("outcome directory of a lane", _write_outcome, _read_outcome),
    "first-publication": StoredKind(
        "when a lane's prompt was first published",
        lambda place, number: as_first_made(random_bundle(seed=number), _lane(place, number)),
        lambda place: first_made(_lane(place)),
    ),
    "checkpoint": StoredKind("checkpoint directory of a gang", _write_checkpoint, _read_checkpoint),
    "pretraining": StoredKind("checkpoint directory of a pretraining", _write_pretraining, _read_pretraining),
}
LANES_COVERED: Final[dict[str, tuple[JobFile, ...]]] = {
    "examples": (EXAMPLES,),
    "sequences": (SEQUENCES,),
    "outcome": (OUTCOME, PROMPT, UNIT_USE, HEARD, CLASS_SCORES, DETECTION),
    "first-publication": (PUBLISHED,),
    "checkpoint": (CHECKPOINT, CHECKPOINT_PART),
    "pretraining": (PRETRAINING, PRETRAINING_PART),
}
