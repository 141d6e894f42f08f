"""Orders carried out without Ray: queues, lanes that fail alone, halving, and going on from a checkpoint."""

from __future__ import annotations

import ctypes
import json
import shutil
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.errors import DamagedFile, FrozenWeightsChanged
from task_specs.sweep import Halving
from tests.fixtures.gang_bench import SHARED, SOUND, Bench, mixed, sweep
from tests.fixtures.memory import Memory
from tests.fixtures.tuning import UNITS, tiny_backbone, toy_examples
from workers.backbone.sharing import SharedLM
from workers.evaluation.bootstrap import resampled
from workers.evaluation.error_rates import ErrorRates
from workers.job_store.checkpoint import seal_checkpoint
from workers.tuning.orders import LaneOrder
from workers.tuning.results.outcome import read_outcome
from workers.tuning.run.checkpoint import GANG_FILES
from workers.tuning.run.session import GangSession
from workers.tuning.step.gang import Gang


def test_a_lane_fails_alone_and_the_others_go_as_they_go_alone(bench: Bench) -> None:
    lanes = mixed(bench)
    for lane in lanes:
        bench.finish(bench.run([lane], width=1, name="alone"))
    for width in (2, 9):
        name = f"together by {width}"
        reports = bench.finish(bench.run(lanes, width=width, name=name))
        bench.assert_same(name, "alone", SOUND)
        errors = {key: bench.outcome(name, key).error for key in ("diverges", "wrong unit", "lost", "damaged")}
        assert errors == {key: bench.outcome("alone", key).error for key in errors}
        assert str(errors["diverges"]).startswith("toy/seed1: the loss was not finite at step")
        assert f"split train holds units 0 to {UNITS}, but the backbone has {UNITS}" in str(errors["wrong unit"])
        assert "not the examples of toy" in str(errors["damaged"])
        assert [bench.outcome(name, key).stopped for key in errors] == ["diverged", "failed", "failed", "failed"]
        assert [report.lanes_ended for report in reports] == sorted(report.lanes_ended for report in reports)
        assert reports[-1].lanes_ended == len(lanes)
        assert reports[-1].lane_steps == reports[-1].lane_steps_planned


def test_an_outcome_is_written_while_others_go_on(bench: Bench) -> None:
    run = bench.run([bench.lane("long", steps=30), bench.lane("short", steps=3)], width=2, name="gang")
    while run.step().lanes_ended == 0:
        pass
    assert not run.done
    assert bench.outcome("gang", "short").steps == 3
    assert read_outcome(str(bench.root / "gang"), "long") is None


def test_lanes_that_ended_before_are_not_tuned_again(bench: Bench) -> None:
    first, second = bench.lane("first"), bench.lane("second", seed=1)
    bench.finish(bench.run([first], width=1, name="gang"))
    file = bench.root / "gang" / "first" / "lane.json"
    before = (file.read_bytes(), file.stat().st_mtime_ns)
    bench.finish(bench.run([first, second], width=1, name="gang"))
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert bench.outcome("gang", "second").error is None
    bench.finish(bench.run([first.model_copy(update={"attempt": 2}), second], width=1, name="gang"))
    assert bench.outcome("gang", "first").attempt == 2


def test_a_run_goes_on_from_its_checkpoint_byte_for_byte(bench: Bench, tmp_path: Path) -> None:
    """Checkpoints at evaluations, and between any two optimizer steps."""
    lanes = mixed(bench)
    straight = bench.finish(bench.run(lanes, width=3, name="straight"))
    for pauses, seconds in ((3, None), (17, 0.0)):
        name = f"resumed after {pauses}"
        checkpoint = tmp_path / f"checkpoint-{pauses}"
        checkpoint.mkdir()
        run = bench.run(lanes, width=3, name=name)
        reports = [run.step(seconds) for _ in range(pauses)]
        run.save(checkpoint)
        # What happened after the checkpoint is lost, but for the outcomes of lanes that ended.
        run.step()
        resumed = bench.run(lanes, width=3, name=name)
        resumed.load(checkpoint)
        reports += bench.finish(resumed)
        bench.assert_same(name, "straight", SOUND, atol=0)
        assert [report for report in reports if report.evaluated] == straight


def expected_survivors(bench: Bench, lanes: Sequence[LaneOrder], rungs: dict[int, int]) -> dict[str, int]:
    """The step at which each point is dropped, 24 for none, from lanes that were tuned alone.

    Args:
        bench: where.
        lanes: of the sweep.
        rungs: points kept by step.
    """
    best: dict[int, dict[str, list[tuple[float, float]]]] = {step: {} for step in rungs}
    for lane in lanes:
        run = bench.run([lane.model_copy(update={"halving": None})], width=1, name="looked at")
        seen: dict[int, tuple[float, float]] = {}
        while not run.done:
            report = run.step()
            step = report.lane_steps
            assert report.metric is not None
            assert report.loss is not None
            seen[step] = max([*seen.values(), (report.metric, -report.loss)])
        lost = bench.outcome("looked at", lane.key).error is not None
        for step, points in best.items():
            points.setdefault(lane.point, []).append((-1.0, 0.0) if lost else seen[step])
    dropped = {lane.point: 24 for lane in lanes}
    left = list(dropped)
    for step, kept in rungs.items():
        scores = best[step]

        def mean(point: str, scores: dict[str, list[tuple[float, float]]] = scores) -> tuple[float, float]:
            return statistics.fmean(a for a, _ in scores[point]), statistics.fmean(b for _, b in scores[point])

        ranked = sorted(left, key=mean, reverse=True)
        dropped |= dict.fromkeys(ranked[kept:], step)
        left = [point for point in left if point in ranked[:kept]]
    return dropped


def test_halving_keeps_the_best_points_whoever_shares_a_pass(bench: Bench) -> None:
    """Rungs at 24 / 4 = 6 and 24 / 2 = 12 steps keep 3 and then 2 of 5 points."""
    lanes = sweep(bench, Halving(eta=2, rungs=2))
    wanted = expected_survivors(bench, lanes, {6: 3, 12: 2})
    assert sorted(wanted.values()) == [6, 6, 12, 24, 24]
    survivors = [lane.key for lane in lanes if wanted[lane.point] == 24]
    # Another task beside them changes nothing.
    other = bench.lane("other", (4, 2), seed=7, steps=13)
    other = other.model_copy(update={"spec": other.spec.model_copy(update={"task": "another"})})
    for width in (1, 3):
        name = f"halved by {width}"
        bench.finish(bench.run([lanes[0], other, *lanes[1:]], width=width, name=name))
        for lane in lanes:
            outcome = bench.outcome(name, lane.key)
            if outcome.error is None:
                assert outcome.steps == wanted[lane.point], lane.key
                assert outcome.stopped == ("steps" if wanted[lane.point] == 24 else "dropped"), lane.key
                assert outcome.figures.keys() == {"valid", "test"}
        bench.assert_same(name, "looked at", survivors)


def test_halving_goes_on_from_a_checkpoint(bench: Bench, tmp_path: Path) -> None:
    """Checkpoints at evaluations, and between any two optimizer steps."""
    lanes = sweep(bench, Halving(eta=2, rungs=2))
    bench.finish(bench.run(lanes, width=3, name="straight"))
    for pauses, seconds in ((5, None), (19, 0.0)):
        name = f"resumed after {pauses}"
        run = bench.run(lanes, width=3, name=name)
        for _ in range(pauses):
            run.step(seconds)
        checkpoint = tmp_path / f"checkpoint-{pauses}"
        checkpoint.mkdir()
        run.save(checkpoint)
        resumed = bench.run(lanes, width=3, name=name)
        resumed.load(checkpoint)
        bench.finish(resumed)
        bench.assert_same(name, "straight", [lane.key for lane in lanes if "3e+38" not in lane.key], atol=0)


@pytest.mark.parametrize("halving", [None, Halving(eta=2, rungs=1)])
def test_a_lane_that_ended_and_left_nothing_that_counts_begins_again(
    bench: Bench, tmp_path: Path, halving: Halving | None
) -> None:
    """Though the checkpoint says that it is over; under halving with all that it was compared with. Each has a pass of
    its own, since other neighbours mean other rounding."""
    lanes = sweep(bench, halving, [0.003, 0.03], seeds=1)
    run = bench.run(lanes, width=1, name="gang")
    bench.finish(run)
    run.save(tmp_path)
    prompts = [bench.root / "gang" / lane.key / "prompt.safetensors" for lane in lanes]
    whole, untouched = [prompt.read_bytes() for prompt in prompts], prompts[1].stat().st_mtime_ns
    prompts[0].write_bytes(whole[1])
    again = bench.run(lanes, width=1, name="gang")
    again.load(tmp_path)
    assert not again.done
    bench.finish(again)
    assert [prompt.read_bytes() for prompt in prompts] == whole
    assert (prompts[1].stat().st_mtime_ns == untouched) == (halving is None)
    other = bench.run(lanes, width=1, name="gang")
    other.load(tmp_path)
    assert other.done


def test_a_checkpoint_is_of_one_unit_lm_and_of_its_lanes(bench: Bench, tmp_path: Path) -> None:
    lanes = [bench.lane("one"), bench.lane("two", seed=1)]
    run = bench.run(lanes, width=2, name="gang")
    run.step()
    run.save(tmp_path)
    with pytest.raises(DamagedFile, match="that of another place"):
        bench.run(lanes, width=2, name="gang", shared=SharedLM.of(tiny_backbone(seed=1))).load(tmp_path)
    for others in ([bench.lane("one"), bench.lane("three", seed=2)], [bench.lane("three", seed=2)]):
        with pytest.raises(DamagedFile, match="is of other lanes"):
            bench.run(others, width=2, name="gang").load(tmp_path)
        with pytest.raises(DamagedFile, match="is of other lanes"):
            bench.run(others, width=2, name="gang").adopt(tmp_path)


def test_a_checkpoint_that_is_not_whole_is_an_error_that_the_actor_knows(bench: Bench, tmp_path: Path) -> None:
    run = bench.run([bench.lane("plain")], width=1, name="gang")
    run.step()
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    run.save(directory)
    for file in sorted(path.name for path in directory.iterdir()):
        damaged = tmp_path / f"without-{file}"
        shutil.copytree(directory, damaged)
        (damaged / file).write_bytes((damaged / file).read_bytes()[:10])
        with pytest.raises(DamagedFile):
            bench.run([bench.lane("plain")], width=1, name="gang").load(damaged)


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("queue.json", lambda saved: saved["seated"].append(0)),
        ("queue.json", lambda saved: saved["seated"].clear()),
        ("queue.json", lambda saved: saved["lanes"].__setitem__(0, "another")),
        ("queue.json", lambda saved: saved["queue"]["waiting"].append(7)),
        ("queue.json", lambda saved: saved.pop("queue")),
        ("lanes.json", lambda saved: saved.clear()),
        ("lanes.json", lambda saved: saved["0"].pop("losses")),
        ("lanes.json", lambda saved: saved["0"]["progress"].update(step="soon")),
        ("lanes.json", lambda saved: saved.update({"1": saved.pop("0")})),
    ],
)
def test_a_checkpoint_that_says_what_cannot_be_is_one_too(
    file: str, change: Callable[[Any], object], bench: Bench, tmp_path: Path
) -> None:
    run = bench.run([bench.lane("plain")], width=1, name="gang")
    run.step()
    run.save(tmp_path)
    saved = json.loads((tmp_path / file).read_text())
    change(saved)
    (tmp_path / file).write_text(json.dumps(saved))
    seal_checkpoint(tmp_path, GANG_FILES, f"a gang on unit LM {SHARED.fingerprint}")
    with pytest.raises(DamagedFile, match=r"lane|validation"):
        bench.run([bench.lane("plain")], width=1, name="gang").load(tmp_path)


def test_no_outcome_leaves_a_worker_whose_weights_changed(bench: Bench) -> None:
    tensors = {name: tensor.copy() for name, tensor in SHARED.tensors.items()}
    shared = SharedLM(SHARED.config, SHARED.unit_tokens, tensors, SHARED.fingerprint)
    run = bench.run([bench.lane("plain", steps=3)], width=1, name="gang", shared=shared)
    next(iter(tensors.values())).flat[0] += 1
    with pytest.raises(FrozenWeightsChanged):
        bench.finish(run)
    assert read_outcome(str(bench.root / "gang"), "plain") is None


class Tampered:
    """An LM in memory that numpy must not write, as the object store hands it out, and a lane that writes into it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, at_step: int) -> None:
        tensors = {name: tensor.copy() for name, tensor in SHARED.tensors.items()}
        for tensor in tensors.values():
            tensor.flags.writeable = False
        self.shared = SharedLM(SHARED.config, SHARED.unit_tokens, tensors, SHARED.fingerprint)
        self._step, self._at, self._steps = Gang.advance, at_step, 0
        monkeypatch.setattr(Gang, "advance", lambda gang: self.step(gang))

    def step(self, gang: Gang) -> None:
        self._steps += 1
        if self._steps == self._at:
            weight = self.shared.tensors["layers.0.fc1.weight"]
            ctypes.cast(weight.ctypes.data, ctypes.POINTER(ctypes.c_float))[3] += 1e-6
        self._step(gang)


def finish_with_checkpoints(run: GangSession, directory: Path) -> None:
    while not run.done:
        run.step()
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        run.save(directory)


def test_a_write_into_frozen_weights_is_found_before_anything_is_kept(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of tuning: the lane that ended before stays as it is, the other goes on from its last checkpoint,
    in a process whose weights are sound, to the prompt of an untouched run."""
    lanes = [bench.lane("short", steps=3), bench.lane("long", steps=9)]
    bench.finish(bench.run(lanes, width=2, name="untouched"))
    tampered = Tampered(monkeypatch, at_step=5)
    run = bench.run(lanes, width=2, name="gang", shared=tampered.shared)
    checkpoint = tmp_path / "checkpoint"
    with pytest.raises(FrozenWeightsChanged, match="was written to while prompts were tuned on it"):
        finish_with_checkpoints(run, checkpoint)
    assert read_outcome(str(bench.root / "gang"), "long") is None
    with pytest.raises(FrozenWeightsChanged):
        bench.run(lanes, width=2, name="gang", shared=tampered.shared)
    again = bench.run(lanes, width=2, name="gang")
    again.load(checkpoint)
    bench.finish(again)
    bench.assert_same("gang", "untouched", ["short", "long"], atol=0)


def test_a_copy_of_the_weights_on_a_device_is_watched_too(bench: Bench) -> None:
    """The shared weights stay what they are; the module computes with others."""
    lane = bench.lane("plain", steps=9)
    run = bench.run([lane], width=1, name="gang")
    run.step()
    lm = run._gang.lm
    bias = lm.get_parameter("norm.bias")
    bias.data = bias.data.clone() + 1e-6
    with pytest.raises(FrozenWeightsChanged):
        run.step()
    assert read_outcome(str(bench.root / "gang"), "plain") is None


def test_a_detector_leaves_its_scores_and_every_lane_its_calibration(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.tuning.results.final_metrics.resampled", resampled)
    lane = bench.lane("spoofs", (2,), metric="eer", positive="class1")
    bench.finish(bench.run([lane, bench.lane("plain")], width=2, name="together"))
    detector, plain = bench.outcome("together", "spoofs"), bench.outcome("together", "plain")
    assert {"eer", "f1", "ece"} <= set(detector.figures["test"])
    assert "eer" not in plain.figures["test"]
    for outcome in (detector, plain):
        low, high = outcome.intervals[outcome.spec.metric]
        assert low <= outcome.figures["test"][outcome.spec.metric] <= high
        assert (len(outcome.draws), len(outcome.temperatures)) == (1000, 1)
    test = toy_examples((2,)).splits["test"]
    lines = (tmp_path / "together/spoofs/scores_test.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines[1:]] == [f"class{number}" for number in test.labels[:, 0]]
    scores = np.array([float(line.split("\t")[1]) for line in lines[1:]])
    rate = ErrorRates(scores, test.labels[:, 0] == 1).equal_error_rate()
    assert rate == pytest.approx(detector.figures["test"]["eer"])
    assert sorted(path.name for path in (tmp_path / "together/plain").iterdir()) == [
        "class_scores.safetensors",
        "heard.safetensors",
        "lane.json",
        "prompt.safetensors",
        "unit_use.safetensors",
    ]


def test_a_lane_that_memory_has_no_room_for_fails_alone_and_says_what_to_lower(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    Memory(monkeypatch, rows=8)
    run = bench.run([bench.lane("large", batch_size=9), bench.lane("small")], width=2, name="memory")
    bench.finish(run)
    large, small = bench.outcome("memory", "large"), bench.outcome("memory", "small")
    assert large.stopped == "failed"
    assert large.error == (
        "toy/seed0: its batch does not fit into memory at step 1, even with no lane beside it; lower "
        "recipe.batch_size, which is 9, or audio.max_seconds"
    )
    assert (small.error, small.stopped) == (None, "steps")
    assert run.width == 2, "those that are left fit together"
    assert [(lane.lane, lane.state) for lane in run.lane_statuses()] == [("large", "failed"), ("small", "ended")]
