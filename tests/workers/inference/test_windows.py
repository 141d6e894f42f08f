"""Long recordings in windows, from the waveform to the answer."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.errors import AudioError
from task_specs.audio_policy import AudioPolicy
from tests.fixtures.tones import babble, write_audio
from tests.fixtures.tuning import make_lane, tiny_lm, toy_examples
from tests.workers.inference.test_classifier import backbone, heard_by, probabilities, tuned
from workers.evaluation.calibration import softmax
from workers.inference.classifier import Classifier
from workers.prompting.examples import SplitExamples, TaskExamples
from workers.speech.audio import apply_policy, windows
from workers.speech.f0 import F0Settings
from workers.speech.unit_cache import UnitCache
from workers.speech.units import Units, deduplicate
from workers.speech.utterance import encode_utterances
from workers.tuning.step.gang import Gang

HALF_A_SECOND = AudioPolicy(max_seconds=0.5, too_long="window")


@given(st.integers(1, 400), st.integers(1, 60))
def test_windows_cover_a_waveform_from_end_to_end(samples: int, longest: int) -> None:
    wave = np.arange(samples, dtype=np.float32)
    cut = windows(wave, longest)
    assert len(cut) == -(-samples // longest)
    assert {len(part) for part in cut} == {min(samples, longest)}
    assert (cut[0][0], cut[-1][-1]) == (0, samples - 1)
    for part, after in itertools.pairwise(cut):
        assert part[0] < after[0] <= part[-1] + 1
        assert np.array_equal(np.diff(part), np.ones(len(part) - 1))


def test_units_of_windows_are_those_of_each_by_itself(tmp_path: Path) -> None:
    tokenizer, settings_ = backbone().tokenizer, F0Settings()
    long, short = babble(1, 1.3), babble(2, 0.4)
    kept = apply_policy(long, sample_rate=16_000, policy=HALF_A_SECOND, name="long")
    assert kept is long
    found, other = encode_utterances(tokenizer, [long, short], settings_, [0.5, 0.5])
    alone = encode_utterances(tokenizer, windows(long, 8_000), settings_)
    assert len(alone) == len(found.windows) == 3
    for (start, end), part in zip(found.spans, alone, strict=True):
        assert found.units[start:end].tolist() == part.units.tolist()
        assert found.durations[start:end].tolist() == part.durations.tolist()
        assert found.pitch is not None
        assert part.pitch is not None
        assert np.array_equal(found.pitch.f0_hz[start:end], part.pitch.f0_hz)
    assert found.pitch is not None
    assert found.pitch.statistics.count == sum(part.pitch.statistics.count for part in alone if part.pitch)
    [whole] = encode_utterances(tokenizer, [short], settings_)
    assert (other, other.windows, other.spans) == (whole, (), [(0, len(whole))])
    cache = UnitCache(str(tmp_path), "f" * 64, settings_)
    cache.add({"long": found, "short": other})
    assert cache.lookup(["long", "short"]) == {"long": found, "short": other}


def test_windows_without_units_are_left_out() -> None:
    empty, one = deduplicate(np.zeros(0, np.int64)), deduplicate(np.array([1, 2]))
    assert Units.joined([empty, one, empty]) == one
    assert len(Units.joined([empty, empty])) == 0


def windowed(part: SplitExamples, seed: int = 0) -> SplitExamples:
    """The same examples, each with 0 to 2 rows more that are those of other examples."""
    rng = np.random.default_rng(seed)
    rows = [[row, *rng.integers(len(part), size=rng.integers(3)).tolist()] for row in range(len(part))]
    owners = np.repeat(np.arange(len(part)), [len(row) for row in rows])
    flat = np.concatenate([np.array(row) for row in rows])
    return SplitExamples(part.units.take(flat), part.labels[owners], windows=owners)


@settings(deadline=None)
@given(st.integers(0, 50), st.data())
def test_examples_are_taken_with_all_their_windows(seed: int, data: st.DataObject) -> None:
    part = windowed(toy_examples(rows=9).splits["test"], seed)
    chosen = np.array(data.draw(st.lists(st.integers(0, 8), min_size=1, max_size=12)))
    taken = part.take(chosen)
    assert taken.examples == len(chosen)
    assert np.array_equal(taken.example_labels, part.example_labels[chosen])
    assert part.windows is not None
    assert taken.windows is not None
    for place, example in enumerate(chosen):
        rows, wanted = np.flatnonzero(taken.windows == place), np.flatnonzero(part.windows == example)
        assert [taken.units[int(row)].tolist() for row in rows] == [part.units[int(row)].tolist() for row in wanted]


def test_an_example_is_scored_by_the_mean_of_its_windows() -> None:
    examples = toy_examples((3, 2))
    test = windowed(examples.splits["test"])
    cut = TaskExamples({**examples.splits, "test": test, "valid": windowed(examples.splits["valid"], 1)})
    again = TaskExamples.from_bytes(cut.to_bytes())
    assert again.digest() == cut.digest() != examples.digest()
    lane = make_lane(tiny_lm(), (3, 2), examples=again, validation_examples=10)
    assert lane.selection.examples == 10 < len(lane.selection)
    gang = Gang(tiny_lm(), [lane], precision="fp32")
    while gang.active:
        gang.run_to_evaluation()
    found = gang.predict(lane, gang.best[0], test)
    rows = gang.predict(lane, gang.best[0], SplitExamples(test.units, test.labels))
    assert test.windows is not None
    for slot in (0, 1):
        means = [rows.scores[slot][test.windows == example].mean(axis=0) for example in range(test.examples)]
        np.testing.assert_allclose(found.scores[slot], means, rtol=1e-4, atol=1e-5)
    assert np.array_equal(found.labels, examples.splits["test"].labels)


def test_a_long_recording_is_answered_by_the_mean_of_its_windows(tmp_path: Path) -> None:
    bundle, _ = tuned("linear", 1)
    policy: dict[str, Any] = {"min_seconds": 0.0, "max_seconds": 0.5, "too_long": "window"}
    cut = heard_by(bundle, **policy)
    wave = (np.round(babble(3, 1.2) * 2**15) / 2**15).astype(np.float32)
    path, short = write_audio(tmp_path / "long.wav", wave), write_audio(tmp_path / "short.wav", wave[:6000])
    [answer], [other] = Classifier([cut], backbone()).classify_audio([path, short])
    parts = [write_audio(tmp_path / f"{number}.wav", part) for number, part in enumerate(windows(wave, 8_000))]
    whole = Classifier([bundle], backbone())
    labels = bundle.manifest.slots[0].labels
    logits = np.log([probabilities(given, labels) for [given] in whole.classify_audio(parts)]).astype(np.float32)
    # Logits are known up to a constant of each window, which does not change the mean's softmax.
    [wanted] = softmax(logits.mean(axis=0, keepdims=True))
    assert probabilities(answer, labels) == pytest.approx(wanted.tolist(), abs=1e-5)
    [[alone]] = whole.classify_audio([short])
    assert probabilities(other, labels) == pytest.approx(probabilities(alone, labels), abs=1e-5)
    refusing = heard_by(bundle, **policy | {"too_long": "error"})
    with pytest.raises(AudioError, match=r"long\.wav: too long: 1\.200 s"):
        Classifier([refusing], backbone()).classify_audio([path])
