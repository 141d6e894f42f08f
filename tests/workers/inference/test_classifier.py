"""Published prompts read recordings exactly as they were tuned to, with nothing of the training stack installed."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from infra import object_storage
from infra.errors import AudioError, BackboneError, BundleError, DatasetError, InputError
from task_specs.audio_policy import AudioPolicy
from tests.fixtures.bundles import random_bundle
from tests.fixtures.command_line import speechprompt
from tests.fixtures.tones import babble, tone, write_audio
from tests.fixtures.tuning import TINY, UNIT_TOKENS, UNITS, make_lane, tiny_backbone, toy_examples
from workers.backbone.directory import Backbone, write_backbone
from workers.backbone.sharing import SharedLM
from workers.bundle.format import Bundle
from workers.bundle.manifest import FORMAT_VERSION, Calibration
from workers.bundle.publish import publish
from workers.evaluation.calibration import softmax
from workers.evaluation.metrics import Predictions
from workers.inference.classifier import Answer, Classifier
from workers.prompting.prompted_pass import PromptRows, PromptTensors, run_pass
from workers.prompting.readings.kinds import READINGS
from workers.tuning.step.gang import Gang

SLOTS = {"slot0": ("class0", "class1", "class2"), "slot1": ("class0", "class1")}
RECIPES: dict[str, dict[str, Any]] = {
    "linear": {},
    "frequency": {"verbalizer": "frequency"},
    "random": {"verbalizer": "random", "prompt_length": 3},
    "mean": {"read": "mean", "prompt_length": 0},
    "pooled": {"read": "pooled", "prompt_length": 2},
    "paper": {"name": "paper", "steps": 4, "batch_size": 8},
}


@cache
def backbone() -> Backbone:
    return tiny_backbone()


@cache
def tuned(kind: str, slots: int = 2, seed: int = 0) -> tuple[Bundle, Predictions]:
    """A prompt tuned for a few steps, as a bundle and with its own predictions on the test split."""
    chosen = dict(list(SLOTS.items())[:slots])
    classes = tuple(len(labels) for labels in chosen.values())
    lm = SharedLM.of(backbone()).attach()
    lane = make_lane(lm, classes, seed=seed, **RECIPES[kind])
    gang = Gang(lm, [lane], precision="fp32")
    while gang.active:
        gang.run_to_evaluation()
    recipe = lane.spec.recipe
    made = random_bundle(
        task=kind,
        slots=chosen,
        reading=recipe.reading,
        verbalizer=recipe.verbalizer,
        layers=TINY.layers,
        length=recipe.prompt_length,
        dim=TINY.dim,
        vocabulary=TINY.vocabulary,
        unit_lm=backbone().lm_fingerprint,
        tokenizer=backbone().tokenizer_fingerprint,
        audio=AudioPolicy(min_seconds=0.0),
        sample_rate=backbone().tokenizer.sample_rate,
    )
    units = lane.mapped_units and tuple(tuple(UNIT_TOKENS[slot].tolist()) for slot in lane.mapped_units)
    sizes = made.manifest.prompt.model_copy(
        update={"special_rows": lane.shape.special_rows, "verbalizer_units": units or None}
    )
    tensors = {name: view.numpy() for name, view in lane.shape.views(gang.best[0]).items()}
    manifest = made.manifest.model_copy(update={"prompt": sizes})
    return Bundle(manifest, tensors), gang.predict(lane, gang.best[0], lane.examples.splits["test"])


def utterances(slots: int = 2) -> list[NDArray[np.int16]]:
    """The utterances of the test split that ``tuned`` made its predictions on."""
    split = toy_examples([len(labels) for labels in list(SLOTS.values())[:slots]]).splits["test"]
    return [split.units[row] for row in range(len(split))]


def probabilities(answer: Answer, labels: Sequence[str]) -> list[float]:
    """In the order of the labels."""
    by_label = dict(zip(answer.labels, answer.probabilities, strict=True))
    return [by_label[label] for label in labels]


@pytest.mark.parametrize("kind", RECIPES)
def test_answers_are_those_of_the_tuned_prompt(kind: str) -> None:
    bundle, predictions = tuned(kind)
    answers = Classifier([bundle], backbone()).classify_units(utterances())
    for slot, (name, labels) in enumerate(SLOTS.items()):
        expected = torch.from_numpy(predictions.scores[slot]).softmax(dim=1)
        found = [probabilities(row[slot], labels) for row in answers]
        assert {row[slot].slot for row in answers} == {name}
        torch.testing.assert_close(torch.tensor(found), expected, rtol=1e-4, atol=1e-5)
    for answer in (answer for row in answers for answer in row):
        assert list(answer.probabilities) == sorted(answer.probabilities, reverse=True)
        assert sum(answer.probabilities) == pytest.approx(1, abs=1e-5)


def ensemble(kind: str, seeds: tuple[int, ...] = (0, 1, 2)) -> Bundle:
    """The prompts of several seeds in one bundle."""
    members = [tuned(kind, seed=seed)[0] for seed in seeds]
    manifest = members[0].manifest
    prompt = manifest.prompt.model_copy(update={"members": seeds})
    tensors = {name: np.stack([member.tensors[name] for member in members]) for name in members[0].tensors}
    return Bundle(manifest.model_copy(update={"format_version": FORMAT_VERSION, "prompt": prompt}), tensors)


@pytest.mark.parametrize("kind", ["linear", "pooled", "paper"])
def test_an_ensemble_answers_with_the_mean_probabilities_of_its_members(kind: str) -> None:
    temperatures = (2.0, 0.5)
    made = ensemble(kind)
    calibration = Calibration(temperatures=temperatures)
    made = Bundle(made.manifest.model_copy(update={"calibration": calibration}), made.tensors)
    members = [tuned(kind, seed=seed)[1] for seed in (0, 1, 2)]
    other = tuned("random")[0]
    units = utterances()
    answers = Classifier([made, other], backbone()).classify_units(
        units * 2, [kind] * len(units) + ["random"] * len(units)
    )
    for slot, (labels, temperature) in enumerate(zip(SLOTS.values(), temperatures, strict=True)):
        mean = np.mean([softmax(member.scores[slot]) for member in members], axis=0)
        expected = softmax(np.log(mean), temperature)
        found = [probabilities(row[slot], labels) for row in answers[: len(units)]]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    assert np.abs(members[0].scores[0] - members[1].scores[0]).max() > 1e-3


@pytest.mark.parametrize("kind", ["pooled", "mean"])
def test_what_was_heard_is_the_score_as_a_sum_over_units(kind: str) -> None:
    """With what the separator adds it is the whole score; taken from the tensors here, in float64, without the pass."""
    bundle, predictions = tuned(kind)
    units = utterances()
    answers = Classifier([bundle], backbone()).classify_units(units, explain=True)
    assert [[replace(answer, heard=()) for answer in row] for row in answers] == Classifier(
        [bundle], backbone()
    ).classify_units(units)
    lm = SharedLM.of(backbone()).attach()
    prompt = PromptTensors.of(
        {name: torch.from_numpy(array) for name, array in bundle.tensors.items()},
        READINGS[kind],
        scores=TINY.vocabulary,
    )
    for number, (row, said) in enumerate(zip(units, answers, strict=True)):
        with torch.no_grad():
            [read], listening = run_pass(lm, [prompt], [PromptRows([UNIT_TOKENS[row]], 2)])
        assert listening is not None
        [parts] = listening.positions()
        assert parts is not None
        torch.testing.assert_close(parts.sum(dim=2).expand(1, 2, -1), read[..., TINY.vocabulary :])
        for slot, answer in enumerate(said):
            matrix = bundle.tensors[f"verbalizer.{slot}"].astype(np.float64)
            label = SLOTS[answer.slot].index(answer.labels[0])
            toward = matrix[label] - matrix.mean(axis=0)
            along = parts[0, min(slot, parts.shape[1] - 1)].double().numpy() @ toward[TINY.vocabulary :]
            assert [one.unit for one in answer.heard] == row.tolist()
            assert [one.weight for one in answer.heard] == pytest.approx(along[1:], abs=1e-4)
            at_separator = read[0, slot, : TINY.vocabulary].double().numpy() @ toward[: TINY.vocabulary]
            scores = predictions.scores[slot][number]
            assert along.sum() + at_separator == pytest.approx(scores[label] - scores.mean(), abs=1e-3)


def test_a_prompt_that_reads_the_separators_alone_hears_nothing_along_the_way() -> None:
    classifier = Classifier([tuned("pooled")[0], tuned("paper")[0], tuned("random")[0]], backbone())
    answers = classifier.classify_units(utterances()[:3], ["paper", "pooled", "random"], explain=True)
    assert [bool(row[0].heard) for row in answers] == [False, True, False]


def test_units_are_heard_at_their_time_in_the_recording(tmp_path: Path) -> None:
    """Also in windows, which overlap; and of an ensemble the parts are the mean of its members'."""
    path = write_audio(tmp_path / "long.wav", babble(1, 1.0))
    whole, cut = (
        Classifier([heard_by(ensemble("pooled"), min_seconds=0, **policy)], backbone()).classify_audio(
            [path], explain=True
        )
        for policy in ({}, {"max_seconds": 0.4, "too_long": "window"})
    )
    frame = backbone().tokenizer.frame_seconds
    times = [(one.start, one.end) for one in whole[0][0].heard]
    assert times[0][0] == 0
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(times))
    assert 1.0 - 4 * frame < float(times[-1][1] or 0) <= 1.0
    begins = [float(one.start or 0) for one in cut[0][0].heard]
    starts = [begin for begin, before in zip(begins, [1.0, *begins[:-1]], strict=True) if begin < before]
    assert starts == pytest.approx([0, 0.3, 0.6])
    members = [
        Classifier([tuned("pooled", seed=seed)[0]], backbone()).classify_units([utterances()[0]], explain=True)[0][0]
        for seed in (0, 1, 2)
    ]
    [[together, _]] = Classifier([ensemble("pooled")], backbone()).classify_units([utterances()[0]], explain=True)
    if len({answer.labels[0] for answer in [*members, together]}) == 1:
        mean = np.mean([[one.weight for one in answer.heard] for answer in members], axis=0)
        assert [one.weight for one in together.heard] == pytest.approx(mean, abs=1e-5)


def calibrated(kind: str, temperatures: tuple[float, ...]) -> Bundle:
    bundle, _ = tuned(kind)
    calibration = Calibration(temperatures=temperatures)
    return Bundle(bundle.manifest.model_copy(update={"calibration": calibration}), bundle.tensors)


def heard_by(bundle: Bundle, **audio: Any) -> Bundle:
    """The bundle with another audio policy."""
    inference = bundle.manifest.inference
    assert inference is not None
    changed = inference.model_copy(update={"audio": AudioPolicy(**audio)})
    return Bundle(bundle.manifest.model_copy(update={"inference": changed}), bundle.tensors)


def test_scores_are_divided_by_the_temperature_of_their_slot() -> None:
    _, predictions = tuned("linear")
    answers = Classifier([calibrated("linear", (2.0, 0.25))], backbone()).classify_units(utterances())
    for slot, (temperature, labels) in enumerate(zip((2.0, 0.25), SLOTS.values(), strict=True)):
        expected = (torch.from_numpy(predictions.scores[slot]) / temperature).softmax(dim=1)
        found = [probabilities(row[slot], labels) for row in answers]
        torch.testing.assert_close(torch.tensor(found), expected, rtol=1e-4, atol=1e-5)


def test_an_answer_that_is_not_sure_enough_abstains() -> None:
    bundle = tuned("linear")[0]
    sure = Classifier([bundle], backbone()).classify_units(utterances())
    tops = sorted(answer.probabilities[0] for row in sure for answer in row)
    threshold = tops[len(tops) // 2]
    answers = Classifier([bundle], backbone(), abstain_below=threshold).classify_units(utterances())
    for row, wanted in zip(answers, sure, strict=True):
        for answer, other in zip(row, wanted, strict=True):
            assert answer.abstained == (other.probabilities[0] < threshold)
            assert answer.label == (None if answer.abstained else other.labels[0])
            assert (answer.labels, answer.probabilities) == (other.labels, other.probabilities)
    assert len({answer.abstained for row in answers for answer in row}) == 2
    with pytest.raises(ValueError, match="probability, not 60"):
        Classifier([bundle], backbone(), abstain_below=60)


def test_utterances_of_several_tasks_share_a_call_and_do_not_change_each_other() -> None:
    classifier = Classifier([tuned("linear")[0], tuned("random")[0], tuned("frequency", 1)[0]], backbone())
    assert classifier.tasks == ("linear", "random", "frequency")
    units = utterances() * 4  # more than one pass
    tasks = [classifier.tasks[number % 3] for number in range(len(units))]
    together = classifier.classify_units(units, tasks)
    for row, task, answers in list(zip(units, tasks, together, strict=True))[::7]:
        [alone] = classifier.classify_units([row], [task])
        assert [answer.slot for answer in answers] == [answer.slot for answer in alone]
        for one, other in zip(answers, alone, strict=True):
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_a_recording_is_its_units(tmp_path: Path) -> None:
    waves = [babble(seed, 0.3 + 0.2 * seed) for seed in range(3)]
    paths = [write_audio(tmp_path / f"{seed}.wav", wave) for seed, wave in enumerate(waves)]
    classifier = Classifier([tuned("linear")[0]], backbone())
    frames = backbone().tokenizer.encode([(np.round(wave * 32768) / 32768).astype(np.float32) for wave in waves])
    units = [np.array([u for u, before in zip(row, [-1, *row[:-1]], strict=True) if u != before]) for row in frames]
    assert classifier.classify_audio(paths) == classifier.classify_units(units)


def test_recordings_of_several_tasks_share_a_call_and_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write_audio(tmp_path / f"{seed}.wav", babble(seed, 0.4)) for seed in range(2)]
    classifier = Classifier([tuned("linear")[0], tuned("random")[0]], backbone())
    alone = {task: classifier.classify_audio(paths, [task] * 2) for task in classifier.tasks}
    read: list[str] = []
    read_bytes = object_storage.read_bytes

    def noted(uri: str) -> bytes:
        read.append(uri)
        return read_bytes(uri)

    monkeypatch.setattr(object_storage, "read_bytes", noted)
    asked = [(path, task) for path in paths for task in classifier.tasks]
    together = classifier.classify_audio([path for path, _ in asked], [task for _, task in asked])
    assert read == paths
    for (path, task), answers in zip(asked, together, strict=True):
        for answer, other in zip(answers, alone[task][paths.index(path)], strict=True):
            assert answer.labels == other.labels
            assert answer.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    with pytest.raises(BundleError, match="no prompt of task 'absent'"):
        classifier.classify_audio(paths, ["linear", "absent"])


def test_the_audio_policy_of_the_task_holds(tmp_path: Path) -> None:
    bundle, _ = tuned("linear")
    short = write_audio(tmp_path / "short.wav", tone(440, 0.05))
    shorter_than_a_frame = write_audio(tmp_path / "frame.wav", tone(440, 0.01))
    strict = heard_by(bundle)
    with pytest.raises(AudioError, match=r"short\.wav"):
        Classifier([strict], backbone()).classify_audio([short])
    lenient = Classifier([bundle], backbone())
    assert len(lenient.classify_audio([short])[0]) == 2
    with pytest.raises(AudioError, match=r"frame\.wav.*frame"):
        lenient.classify_audio([shorter_than_a_frame])
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(AudioError, match=r"text\.wav"):
        lenient.classify_audio([str(tmp_path / "text.wav")])


@pytest.mark.parametrize("units", [[], [0, UNITS], [3, -1]])
def test_what_are_no_units_of_the_backbone_is_refused(units: list[int]) -> None:
    classifier = Classifier([tuned("linear")[0]], backbone())
    with pytest.raises(DatasetError, match=f"0 to {UNITS - 1}"):
        classifier.classify_units([np.array([1, 2], np.int16), np.array(units, np.int16)])


def test_a_bundle_of_another_backbone_is_refused() -> None:
    with pytest.raises(BundleError, match="backbone"):
        Classifier([tuned("linear")[0]], tiny_backbone(seed=1))


def test_tasks_are_named_where_there_are_several() -> None:
    bundle, _ = tuned("linear")
    with pytest.raises(BundleError, match="two bundles of one task"):
        Classifier([bundle, bundle], backbone())
    several = Classifier([bundle, tuned("random")[0]], backbone())
    with pytest.raises(BundleError, match=r"several tasks.*linear, random"):
        several.classify_units(utterances())
    with pytest.raises(BundleError, match="no prompt of task 'absent'"):
        several.classify_units(utterances()[:1], ["absent"])


def published(root: str, *, backbone_uri: str, kind: str = "linear") -> str:
    """URI of the task of a published bundle."""
    bundle, _ = tuned(kind)
    provenance = bundle.manifest.provenance.model_copy(update={"backbone_uri": backbone_uri})
    publish(root, Bundle(bundle.manifest.model_copy(update={"provenance": provenance}), bundle.tensors))
    return f"{root}/{kind}"


def test_a_bundle_knows_where_its_backbone_is(store_root: str) -> None:
    place = f"{store_root}/backbone"
    write_backbone(backbone(), place)
    task = published(f"{store_root}/bundles", backbone_uri=place)
    found = Classifier.from_uris([task]).classify_units(utterances())
    assert found == Classifier([tuned("linear")[0]], backbone()).classify_units(utterances())
    lost = published(f"{store_root}/lost", backbone_uri="")
    with pytest.raises(BundleError, match="--backbone"):
        Classifier.from_uris([lost])
    assert Classifier.from_uris([lost], place).tasks == ("linear",)
    with pytest.raises(BackboneError, match="nowhere"):
        Classifier.from_uris([lost], f"{store_root}/nowhere")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a backbone, bundles of two tasks, and two recordings."""
    write_backbone(backbone(), str(tmp_path / "backbone"))
    for kind in ("linear", "random"):
        published(str(tmp_path / "bundles"), backbone_uri=str(tmp_path / "backbone"), kind=kind)
    for number in range(2):
        write_audio(tmp_path / f"žodis[{number}].wav", babble(number, 0.5))
    monkeypatch.chdir(tmp_path)
    return tmp_path


COMMAND = ("classify", "--bundle", "bundles/linear", "--bundle", "bundles/random")
AUDIO = ("žodis[0].wav", "žodis[1].wav")


def expected_labels(workplace: Path) -> list[dict[str, list[Answer]]]:
    classifier = Classifier([tuned(kind)[0] for kind in ("linear", "random")], backbone())
    found = {
        task: classifier.classify_audio([str(workplace / name) for name in AUDIO], [task] * len(AUDIO))
        for task in RECIPES
        if task in classifier.tasks
    }
    return [{task: answers[number] for task, answers in found.items()} for number in range(len(AUDIO))]


def as_json(answers: Mapping[str, Sequence[Answer]], *, top: int) -> dict[str, Any]:
    return {
        task: {
            answer.slot: [
                {"label": label, "probability": round(share, 6)}
                for label, share in list(zip(answer.labels, answer.probabilities, strict=True))[:top]
            ]
            for answer in row
        }
        for task, row in answers.items()
    }


@pytest.mark.parametrize("top", [1, 2])
def test_the_command_prints_json_lines(workplace: Path, top: int) -> None:
    done = speechprompt(*COMMAND, "--json", "--top", str(top), *AUDIO)
    assert (done.code, done.stderr) == (0, "")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"audio": name, "labels": as_json(answers, top=top)}
        for name, answers in zip(AUDIO, expected_labels(workplace), strict=True)
    ]


def test_the_command_prints_a_table(workplace: Path) -> None:
    done = speechprompt(*COMMAND, *AUDIO)
    assert done.code == 0
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines() if line[0] == "│"]
    assert rows == [
        [name, task, answer.slot, answer.labels[0], f"{answer.probabilities[0]:.3f}"]
        for name, answers in zip(AUDIO, expected_labels(workplace), strict=True)
        for task, row in answers.items()
        for answer in row
    ]


@pytest.mark.parametrize("threshold", [math.nan, math.inf, -0.1, 1.1, True, "0.5"])
def test_what_is_no_probability_is_refused_before_anything_is_read(threshold: Any) -> None:
    with pytest.raises(InputError, match=r"abstain_below must be a probability, not .*; give a number from 0 to 1"):
        Classifier.from_uris(["/nowhere"], abstain_below=threshold)


@pytest.mark.parametrize("threshold", ["nan", "inf", "2", "-1"])
def test_the_command_refuses_what_is_no_probability(threshold: str) -> None:
    done = speechprompt("classify", "--bundle", "/nowhere", "--abstain-below", threshold, "/nowhere.wav")
    assert (done.code, "Traceback" in done.stderr, threshold in done.stderr) == (2, False, True)


def test_the_command_abstains_explicitly(workplace: Path) -> None:
    one = [answers["linear"][0] for answers in expected_labels(workplace)]
    sure, unsure = sorted((answer.probabilities[0] for answer in one), reverse=True)
    assert sure > unsure
    threshold = f"{(sure + unsure) / 2}"
    command = ("classify", "--bundle", "bundles/linear", "--abstain-below", threshold)
    for top in (1, 2):
        lines = speechprompt(*command, "--json", "--top", str(top), *AUDIO).stdout.splitlines()
        for line, answer in zip(map(json.loads, lines), one, strict=True):
            labels = as_json({"linear": [answer]}, top=top)["linear"]["slot0"]
            if answer.probabilities[0] == unsure:
                no_answer = {"label": None, "abstained": True, "probability": labels[0]["probability"]}
                labels = [no_answer, *(labels if top > 1 else [])]
            assert line["labels"]["linear"]["slot0"] == labels
    assert speechprompt(*command, *AUDIO).stdout.count("(abstains)") >= 1
    assert speechprompt("classify", "--bundle", "bundles/linear", "--abstain-below", "2", *AUDIO).code == 2


def test_the_command_says_what_is_wrong(workplace: Path) -> None:
    for arguments, said in [
        ((*COMMAND, "absent.wav"), "absent.wav"),
        (("classify", "--bundle", "bundles/none", *AUDIO), "holds no bundle"),
        ((*COMMAND, "--backbone", "bundles", *AUDIO), "backbone.json"),
    ]:
        done = speechprompt(*arguments)
        assert (done.code, done.stdout) == (2, "")
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1
    (workplace / "backbone" / "lm.safetensors").write_bytes(b"no tensors")
    assert "lm.safetensors" in speechprompt(*COMMAND, *AUDIO).stderr


WITHOUT_THE_TRAINING_STACK = """
import sys

ABSENT = {"ray", "mlflow", "pandas", "sklearn", "scipy", "pyarrow", "matplotlib", "amfm_decompy", "fairseq"}

class Without:
    # A finder to which some packages are not installed.
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in ABSENT else self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Without, sys.meta_path)
import orchestrator.commands.classify, workers.inference.classifier
from orchestrator.cli import main
try:
    main()
finally:
    assert not {name.partition(".")[0] for name in sys.modules} & (ABSENT | {"torch._dynamo"})
"""


def test_classifying_needs_nothing_of_the_training_stack(workplace: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", WITHOUT_THE_TRAINING_STACK, *COMMAND, "--json", *AUDIO]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=workplace)
    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line)["labels"] for line in done.stdout.splitlines()] == [
        as_json(answers, top=1) for answers in expected_labels(workplace)
    ]


def test_a_bundle_of_another_sample_rate_than_its_tokenizers_is_refused() -> None:
    bundle, _ = tuned("linear")
    assert bundle.manifest.inference is not None
    other = bundle.manifest.inference.model_copy(update={"sample_rate": 8_000})
    changed = Bundle(bundle.manifest.model_copy(update={"inference": other}), bundle.tensors)
    with pytest.raises(BundleError, match="takes recordings at 8000 Hz, but its tokenizer takes 16000; it was altered"):
        Classifier([changed], backbone())
