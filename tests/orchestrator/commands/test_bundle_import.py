"""Prompts of the reference code as bundles, through the command line and the classifier."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from infra import object_storage
from tests.fixtures.command_line import Finished, speechprompt
from tests.fixtures.golden import expected
from tests.fixtures.shared_data import shared_folder
from workers.backbone.directory import read_backbone
from workers.backbone.sharing import SharedLM
from workers.bundle.read import read
from workers.inference.classifier import Classifier
from workers.prompting.prompted_pass import PromptRows, PromptTensors, read_prompts

CLASSES = 7
LABELS = tuple(f"žodis {index}" for index in range(CLASSES))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The toy GSLM of the golden vectors, imported from the command line."""
    folder, out = shared_folder("golden/gslm"), str(tmp_path_factory.mktemp("backbone"))
    done = speechprompt(
        *("backbone", "import", "--out", out, "--tokenizer-name", "hubert-base-l6-km100"),
        *("--lm", str(folder / "checkpoint.pt"), "--dict", str(folder / "dict.txt")),
    )
    assert done.code == 0, done.stderr
    return out


def _gold(kind: str) -> dict[str, Any]:
    return expected(shared_folder("golden/prompted") / f"expected_{kind}.npz")


def _mapping(kind: str) -> dict[str, str]:
    """``verbalizer.json`` as the reference would have written it, in no particular order of classes."""
    units = _gold(kind)["label_token_ids"] - 4
    return {LABELS[index]: str(units[index]) for index in (3, 1, 6, 0, 2, 5, 4)}


def _labels(folder: Path, content: Any, name: str = "verbalizer.json") -> str:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def _import(checkpoint: Path, labels: str, backbone: str, out: str) -> Finished:
    options = ("--labels", labels, "--backbone", backbone, "--task", "toy-words", "--out", out, "--language", "lt")
    return speechprompt("bundle", "import", str(checkpoint), *options)


def _checkpoint(kind: str) -> Path:
    return shared_folder("golden/prompted") / f"prompt_checkpoint{'' if kind == 'verb' else f'_{kind}'}.pt"


@pytest.mark.parametrize(
    ("kind", "file", "labels"),
    [
        ("verb", "verbalizer.json", "mapping"),
        ("verb", "labels.json", list(LABELS)),
        ("verb", "labels.txt", "\n".join(LABELS)),
        ("noverb", "verbalizer.json", "mapping"),
    ],
)
def test_predicts_what_the_reference_predicts(tmp_path: Path, backbone: str, kind: str, file: str, labels: Any) -> None:
    given = _labels(tmp_path, _mapping(kind) if labels == "mapping" else labels, file)
    done = _import(_checkpoint(kind), given, backbone, str(tmp_path / "bundles"))
    assert done.code == 0, done.stderr
    bundle = read(str(tmp_path / "bundles" / "toy-words"))
    # 3 layers of 5 keys and 5 values of 32, a separator, and a verbalizer of 4 + 7 rows of 104.
    assert bundle.manifest.parameters == 2 * 3 * 5 * 32 + 32 + (11 * 104 if kind == "verb" else 0)
    assert done.stdout.endswith(f": {bundle.manifest.parameters:,} numbers, 7 labels\n")
    gold = _gold(kind)
    ends = zip(gold["src_tokens"], gold["label_slot"], strict=True)
    units = [(row[1:end] - 4).astype(np.int16) for row, end in ends]
    answers = Classifier([bundle], read_backbone(backbone)).classify_units(units)
    # Row 4 + c of the verbalizer is class c; without one, the class is the token of its unit.
    rows = np.arange(CLASSES) + 4 if kind == "verb" else gold["label_token_ids"]
    scores = gold["label_slot_logits"][:, rows]
    if kind == "verb":
        # Without a verbalizer the reference may generate a unit that is no label; a bundle always names one.
        assert gold["label_slot_logits"].argmax(axis=1).tolist() == rows[scores.argmax(axis=1)].tolist()
    wanted = torch.from_numpy(scores).softmax(dim=1).numpy()
    for [answer], best, shares in zip(answers, scores.argmax(axis=1), wanted, strict=True):
        assert answer.labels[0] == LABELS[best]
        found = dict(zip(answer.labels, answer.probabilities, strict=True))
        np.testing.assert_allclose([found[label] for label in LABELS], shares, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["verb", "noverb"])
def test_scores_are_the_references(tmp_path: Path, backbone: str, kind: str) -> None:
    _import(_checkpoint(kind), _labels(tmp_path, _mapping(kind)), backbone, str(tmp_path / "bundles"))
    bundle, gold = read(str(tmp_path / "bundles" / "toy-words")), _gold(kind)
    tensors: dict[str, Tensor] = {name: torch.tensor(array) for name, array in bundle.tensors.items()}
    prompt = PromptTensors(tensors["prompt.keys"], tensors["prompt.values"], tensors["separators"])
    rows = [row[1:slot] for row, slot in zip(gold["src_tokens"], gold["label_slot"], strict=True)]
    lm = SharedLM.of(read_backbone(backbone)).attach()
    [logits] = read_prompts(lm, [prompt], [PromptRows(rows, 1)])
    scores = F.linear(logits[:, 0], tensors["verbalizer.0"]) if kind == "verb" else logits[:, 0]
    tolerance = 1e-4 if kind == "verb" else 3e-5
    np.testing.assert_allclose(scores.numpy(), gold["label_slot_logits"], rtol=0, atol=tolerance)


def test_manifest_says_what_is_known(tmp_path: Path, backbone: str, store_root: str) -> None:
    labels = _labels(tmp_path, _mapping("noverb"))
    for _ in range(2):
        assert _import(_checkpoint("noverb"), labels, backbone, store_root).code == 0
    manifest = read(object_storage.join(store_root, "toy-words")).manifest
    assert (manifest.task.name, manifest.task.language, manifest.results) == ("toy-words", "lt", {})
    assert manifest.prompt.verbalizer == "random"
    assert manifest.seed == 100501
    assert manifest.recipe == {"name": "reference", "architecture": "GSLM_SpeechPrompt_v1"}
    assert manifest.provenance.backbone_uri == backbone
    listed = json.loads(speechprompt("bundle", "list", store_root, "--json").stdout)
    assert len(listed) == 1, "the same files give the same version"


def _altered(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        content = torch.load(_checkpoint("verb"), weights_only=True)
        change(content)
        torch.save(content, folder / "altered.pt")
        return folder / "altered.pt"

    return write


def _drop(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["model"].pop(name)


def _set(name: str, tensor: Tensor) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["model"].update({name: tensor})


FIRST = "decoder.deep_key_embed_prompts.0.weight"
VERBALIZER = "decoder.prompt_linear_verbalizer.weight"
KEY = "decoder.deep_key_embed_prompts.1.weight"


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda _: _checkpoint("inputonly"), "an input prompt without deep prompts"),
        (lambda _: shared_folder("golden/gslm") / "checkpoint.pt", "decoder.sep_embed.weight is missing"),
        (_altered(_drop(KEY)), f"{KEY} is missing"),
        (_altered(_set(KEY, torch.zeros(4, 32))), f"{KEY} has shape (4, 32) instead of (5, 32)"),
        (_altered(_set(KEY, torch.full((5, 32), torch.inf))), f"{KEY} holds numbers that are not finite"),
        (_altered(_set(KEY, torch.tensor(1.0))), f"{KEY} has shape () instead of (5, 32)"),
        (_altered(_set(FIRST, torch.tensor(1.0))), f"{FIRST} has shape () instead of"),
        (_altered(_set(VERBALIZER, torch.zeros(0))), f"{VERBALIZER} has shape (0,) instead of"),
        (_altered(_set(VERBALIZER, torch.zeros(4, 104))), f"{VERBALIZER} has shape (4, 104) instead of (5, 104)"),
        (_altered(_set("decoder.deep_key_embed_prompts.3.weight", torch.zeros(5, 32))), "is not part of a prompt"),
        (_altered(lambda content: content["cfg"]["model"].update(num_classes=9)), "7 labels for a verbalizer of 7"),
    ],
)
def test_what_cannot_be_imported_is_named(
    tmp_path: Path, backbone: str, write: Callable[[Path], Path], said: str
) -> None:
    checkpoint = write(tmp_path)
    done = _import(checkpoint, _labels(tmp_path, _mapping("verb")), backbone, str(tmp_path / "bundles"))
    assert done.code == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "bundles").exists()


@pytest.mark.parametrize(
    ("kind", "labels", "said"),
    [
        ("verb", list(LABELS[:6]), "6 labels for a verbalizer of 7 classes"),
        ("verb", [*LABELS[:6], LABELS[0]], "a label stands there twice"),
        ("verb", dict(zip(LABELS, "0123458", strict=True)), "its units are not the classes 0 to 6"),
        ("noverb", list(LABELS), "give its verbalizer.json"),
        ("noverb", dict.fromkeys(LABELS, "5"), "'žodis 0' and 'žodis 1' stand for the same unit 5"),
        ("noverb", {"on": "1 2 3", "off": "4 5 6"}, "a bundle reads all slots at once, so tune this task again"),
        ("noverb", {"on": "1", "off": "400"}, "unit 400 is none of the backbone's 0 to 99"),
        ("noverb", {"on": "1", "off": None}, "'off' stands for None, which is no unit"),
        ("noverb", "{", "not labels ("),
        ("noverb", {}, "neither labels with their units nor a list"),
        ("noverb", {"a\u001b[2J": "1", "b": "2"}, "control character"),
    ],
)
def test_labels_that_do_not_fit(tmp_path: Path, backbone: str, kind: str, labels: Any, said: str) -> None:
    done = _import(_checkpoint(kind), _labels(tmp_path, labels), backbone, str(tmp_path / "bundles"))
    assert done.code == 2
    assert said in done.stderr
    assert not (tmp_path / "bundles").exists()


VERB = "\n".join(LABELS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.txt", VERB.replace("\n", "\r\n").encode()),
        ("labels.txt", b"\xef\xbb\xbf" + VERB.encode()),
        ("labels.txt", VERB.encode("utf-16")),
        ("labels.txt", VERB.encode() + b"\n\n  \n"),
        ("labels.txt", VERB.replace("\n", " \n").encode()),
        ("labels.txt", json.dumps(list(LABELS)).encode()),
        ("labels.json", b"\xef\xbb\xbf" + json.dumps(list(LABELS)).encode()),
    ],
    ids=["crlf", "bom", "utf16", "blank", "spaces", "json in txt", "json with bom"],
)
def test_labels_as_other_programs_save_them(tmp_path: Path, backbone: str, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    done = _import(_checkpoint("verb"), str(tmp_path / name), backbone, str(tmp_path / "bundles"))
    assert done.code == 0, done.stderr
    assert read(str(tmp_path / "bundles" / "toy-words")).manifest.slots[0].labels == LABELS


def test_a_prompt_below_a_wrapper_is_imported_with_a_note(tmp_path: Path, backbone: str) -> None:
    content = torch.load(_checkpoint("verb"), weights_only=True)
    content["model"] = {f"module.{name}": tensor.double() for name, tensor in content["model"].items()}
    torch.save(content, tmp_path / "wrapped.pt")
    labels = _labels(tmp_path, _mapping("verb"))
    done = _import(tmp_path / "wrapped.pt", labels, backbone, str(tmp_path / "bundles"))
    assert done.code == 0, done.stderr
    assert f"note: {tmp_path}/wrapped.pt: 'module.' of wrappers was taken off" in done.stdout


def test_the_message_names_what_is_at_fault(tmp_path: Path, backbone: str) -> None:
    labels = _labels(tmp_path, _mapping("verb"))
    whole = torch.load(_checkpoint("verb"), weights_only=True)
    whole["model"]["decoder.embed_tokens.weight"] = torch.zeros(104, 32)
    torch.save(whole, tmp_path / "base_prompt_model.pt")
    flipped = bytearray(_checkpoint("verb").read_bytes())
    flipped[flipped.index(torch.load(_checkpoint("verb"), weights_only=True)["model"][KEY].numpy().tobytes()) + 3] ^= 1
    (tmp_path / "flipped.pt").write_bytes(flipped)
    for checkpoint, given, said in (
        (
            tmp_path / "base_prompt_model.pt",
            labels,
            "a whole LM with its prompts, as base_prompt_model.pt is",
        ),
        (tmp_path / "flipped.pt", labels, "flipped.pt: damaged (the checksum of "),
        (Path(labels), labels, "a JSON document instead of a checkpoint"),
        (_checkpoint("verb"), str(_checkpoint("verb")), "a checkpoint of torch.save instead of labels"),
    ):
        done = _import(checkpoint, given, backbone, str(tmp_path / "bundles"))
        assert done.code == 2
        assert said in done.stderr
        assert not (tmp_path / "bundles").exists()


def test_units_that_the_lm_never_saw_are_one_label(tmp_path: Path) -> None:
    lacking = [f"{unit} 1" for unit in range(100) if unit not in (3, 5)] + ["madeupword0000 0", "madeupword0001 0"]
    (tmp_path / "dict.txt").write_text("\n".join(lacking))
    lm = ("--lm", str(shared_folder("golden/gslm") / "checkpoint.pt"), "--dict", str(tmp_path / "dict.txt"))
    done = speechprompt("backbone", "import", "--out", str(tmp_path / "lacking"), "--tokenizer-name", "any", *lm)
    assert done.code == 0, done.stderr
    labels = _labels(tmp_path, {"on": "3", "off": "5"})
    done = _import(_checkpoint("noverb"), labels, str(tmp_path / "lacking"), str(tmp_path / "bundles"))
    assert done.code == 2
    assert "'on' and 'off' stand for units 3 and 5, both unknown to the LM" in done.stderr


def test_another_backbone_is_refused(tmp_path: Path) -> None:
    labels = _labels(tmp_path, _mapping("verb"))
    pgslm = str(tmp_path / "pgslm")
    source = str(shared_folder("golden/pgslm") / "checkpoint_continuous.pt")
    done = speechprompt("backbone", "import", "--out", pgslm, "--lm", source, "--tokenizer-name", "any")
    assert done.code == 0, done.stderr
    done = _import(_checkpoint("verb"), labels, pgslm, str(tmp_path / "bundles"))
    assert done.code == 2
    assert "name the backbone of a GSLM" in done.stderr


def test_a_task_name_that_cannot_be_a_directory(tmp_path: Path, backbone: str) -> None:
    labels = _labels(tmp_path, _mapping("verb"))
    done = speechprompt(
        *("bundle", "import", str(_checkpoint("verb")), "--labels", labels, "--backbone", backbone),
        *("--task", "../elsewhere", "--out", str(tmp_path / "bundles")),
    )
    assert done.code == 2
    assert "error: --task: " in done.stderr
