"""Original files in, backbone directory out, through the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from infra import object_storage
from tests.fixtures.command_line import Finished, speechprompt
from tests.fixtures.golden import expected
from tests.fixtures.hostile_files import payload
from tests.fixtures.shared_data import shared_folder
from workers.backbone.directory import read_backbone
from workers.fairseq import installed
from workers.interop.centroids import read_centroids
from workers.interop.hubert import import_hubert

ROOT = Path(__file__).parents[3]


def _import(out: str, *options: str | Path) -> Finished:
    return speechprompt("backbone", "import", "--out", out, *map(str, options))


def _inspect(uri: str) -> dict[str, Any]:
    shown = speechprompt("backbone", "inspect", uri, "--json")
    assert shown.code == 0, shown.stderr
    found: dict[str, Any] = json.loads(shown.stdout)
    return found


def _gslm(*options: str | Path) -> tuple[str | Path, ...]:
    folder = shared_folder("golden/gslm")
    return ("--lm", folder / "checkpoint.pt", "--dict", folder / "dict.txt", *options)


def _whole(witness: Path) -> tuple[str | Path, ...]:
    """A unit LM, its dictionary in an order of its own, HuBERT and centroids."""
    lm = ("--lm", witness / "gslm_small.pt", "--dict", witness / "gslm_small.dict.txt")
    return (*lm, "--hubert", witness / "hubert.pt", "--kmeans", witness / "centroids.npy", "--layer", "2")


def test_an_lm_alone(store_root: str) -> None:
    done = _import(store_root, *_gslm("--tokenizer-name", "hubert-l6", "--licence", "CC-BY-NC 4.0", "--name", "toy"))
    assert done.code == 0, done.stderr
    assert done.stdout.splitlines()[-1] == store_root
    shown = _inspect(store_root)
    assert {key: shown[key] for key in ("name", "unit_lm", "vocabulary", "units", "licence", "parameters")} == {
        "name": "toy",
        "unit_lm": "gslm",
        "vocabulary": 104,
        "units": 100,
        "licence": "CC-BY-NC 4.0",
        "parameters": 29_024,
    }
    assert (shown["tokenizer"]["kind"], shown["tokenizer"]["name"]) == ("external", "hubert-l6")
    assert shown["tokenizer_parameters"] == 0
    for part in ("lm_fingerprint", "tokenizer_fingerprint"):
        assert shown[part] in done.stdout
    again = _import(store_root, *_gslm("--tokenizer-name", "hubert-l6", "--licence", "CC-BY-NC 4.0", "--name", "toy"))
    assert again.code == 0, "the same files give the same backbone"
    other = _import(store_root, *_gslm("--tokenizer-name", "another"))
    assert other.code == 2
    assert "another backbone is stored there" in other.stderr
    assert _inspect(store_root) == shown


def test_a_whole_backbone_turns_audio_into_the_units_of_the_originals(tmp_path: Path, witness: Path) -> None:
    done = _import(str(tmp_path / "out"), *_whole(witness))
    assert done.code == 0, done.stderr
    found = read_backbone(str(tmp_path / "out"))
    arrays = expected(witness / "hubert.npz")
    centroids = np.load(witness / "centroids.npy")
    distances = np.square(arrays["features"][:, None] - centroids[None]).sum(axis=2)
    [units] = found.tokenizer.encode([arrays["wave"]])
    np.testing.assert_array_equal(units, distances.argmin(axis=1))
    tokens = np.array(found.unit_tokens)
    gslm = expected(witness / "gslm_small.npz")
    np.testing.assert_array_equal(tokens[gslm["units"]], gslm["tokens"][:, 1:])
    shown = _inspect(str(tmp_path / "out"))
    assert shown["tokenizer"]["kind"] == "hubert"
    assert shown["tokenizer_parameters"] == sum(tensor.size for tensor in found.tokenizer.tensors().values())
    assert shown["name"] == "gslm-hubert-l2-km100"


@pytest.mark.parametrize("layer", [1, 2, 3])
@pytest.mark.parametrize("file", ["km.bin", "km_unaligned.bin"])
def test_units_are_the_references(layer: int, file: str) -> None:
    folder = shared_folder("golden/hubert")
    centroids = read_centroids(str(folder / file))
    tokenizer = import_hubert(str(folder / "checkpoint.pt"), centroids, layer=layer).tokenizer
    wave = expected(folder / "expected.npz")["waveform"]
    wanted = expected(folder / "expected_km.npz")[f"layer{layer}_units"]
    np.testing.assert_array_equal(tokenizer.encode([wave])[0], wanted)


def test_torchaudios_file_gives_the_same_tokenizer(tmp_path: Path) -> None:
    centroids = np.random.default_rng(0).normal(size=(20, 48)).astype(np.float32)
    wanted = import_hubert(str(shared_folder("golden/hubert") / "checkpoint.pt"), centroids, layer=3)
    tensors = {name: torch.from_numpy(array) for name, array in wanted.tokenizer.tensors().items()}
    del tensors["centroids"]
    torch.save(tensors, tmp_path / "hubert.pth")
    found = import_hubert(str(tmp_path / "hubert.pth"), centroids, layer=3)
    for name, array in wanted.tokenizer.tensors().items():
        np.testing.assert_array_equal(found.tokenizer.tensors()[name], array)


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_a_pgslm(tmp_path: Path, kind: str) -> None:
    folder = shared_folder("golden/pgslm")
    edges = expected(folder / "expected_discrete.npz")["f0_bin_edges"]
    torch.save({32: edges}, tmp_path / "bins.th")
    bins = ("--f0-bins", tmp_path / "bins.th") if kind == "discrete" else ()
    options = ("--tokenizer-name", "any", "--f0-mean", "utterance", *bins)
    done = _import(str(tmp_path / "out"), "--lm", folder / f"checkpoint_{kind}.pt", *options)
    assert done.code == 0, done.stderr
    shown = _inspect(str(tmp_path / "out"))
    assert (shown["unit_lm"], shown["streams"], shown["bos"]) == ("pgslm", kind, 100)
    assert shown["prosody"]["f0_mean"] == "utterance"
    assert shown["f0_edges"] == (edges.tolist() if kind == "discrete" else [])
    table = speechprompt("backbone", "inspect", str(tmp_path / "out")).stdout
    assert ("31 values from" in table) == (kind == "discrete")


@dataclass(frozen=True)
class Verified:
    """Imports that fairseq has verified.

    Attributes:
        whole, out: that of a whole backbone, and where it is.
        wrapped, hubert: that of torchaudio's file below a wrapper and of units that the LM does not know; that file.
    """

    whole: Finished
    out: Path
    wrapped: Finished
    hubert: Path


@pytest.fixture(scope="module")
def verified(witness: Path, tmp_path_factory: pytest.TempPathFactory) -> Verified:
    """In one process of their own, since importing fairseq takes seconds and changes much."""
    root = tmp_path_factory.mktemp("verified")
    centroids = np.random.default_rng(0).normal(size=(102, 48)).astype(np.float32)
    np.save(root / "hubert_l2_km102.npy", centroids)
    converted = import_hubert(str(shared_folder("golden/hubert") / "checkpoint.pt"), centroids, layer=2)
    state = {f"module.{name}": torch.from_numpy(array) for name, array in converted.tokenizer.tensors().items()}
    del state["module.centroids"]
    torch.save(state, root / "hubert.pth")
    lm = ("--lm", witness / "gslm_small.pt", "--dict", witness / "gslm_small.dict.txt", "--layer", "2")
    wrapped = (*lm, "--hubert", root / "hubert.pth", "--kmeans", root / "hubert_l2_km102.npy")
    options = {"whole": _whole(witness), "wrapped": wrapped}
    commands = [
        ["backbone", "import", "--out", str(root / name), "--verify", *map(str, files)]
        for name, files in options.items()
    ]
    program = (
        "import dataclasses, json, sys\n"
        "from tests.fixtures.command_line import speechprompt\n"
        "print(json.dumps([dataclasses.asdict(speechprompt(*command)) for command in json.load(sys.stdin)]))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(commands), cwd=ROOT, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    whole, other = (Finished(**done) for done in json.loads(ran.stdout))
    return Verified(whole, root / "whole", other, root / "hubert.pth")


def test_fairseq_verifies(verified: Verified) -> None:
    done = verified.whole
    assert done.code == 0, done.stderr
    *_, logits, features, out = done.stdout.splitlines()
    assert out == str(verified.out)
    for line, what in ((logits, "logits"), (features, "features")):
        start = f"largest difference from fairseq in {what}: "
        assert line.startswith(start)
        assert float(line.removeprefix(start)) < 2e-5
    assert done.stderr == ""


def test_fairseq_verifies_torchaudios_file_below_a_wrapper_and_units_that_are_unknown(verified: Verified) -> None:
    done = verified.wrapped
    assert done.code == 0, done.stderr
    *_, unknown, wrapped, logits, features, _ = done.stdout.splitlines()
    assert unknown.endswith(
        "units 100, 101 are not in it, as where the LM's corpus had none; the LM reads <unk> instead"
    )
    assert wrapped == f"note: {verified.hubert}: 'module.' of wrappers was taken off the names of its tensors"
    for line in (logits, features):
        assert float(line.rpartition(" ")[2]) < 2e-5


def test_importing_needs_none_of_the_original_libraries() -> None:
    folder = shared_folder("golden")
    program = (
        "import sys\n"
        "for name in 'fairseq omegaconf hydra sklearn joblib ray mlflow'.split(): sys.modules[name] = None\n"
        "from workers.interop.hubert import import_hubert\n"
        "from workers.fairseq.original_files import OriginalFiles\n"
        "from workers.interop.backbone import import_backbone\n"
        "from workers.interop.centroids import read_centroids\n"
        "lm, dictionary, hubert, kmeans = sys.argv[1:]\n"
        "import_backbone(OriginalFiles(lm=lm, dictionary=dictionary, tokenizer_name='any'))\n"
        "import_hubert(hubert, read_centroids(kmeans), layer=2)\n"
    )
    files = ("gslm/checkpoint_args_namespace.pt", "gslm/dict.txt", "hubert/checkpoint.pt", "hubert/km.bin")
    command = [sys.executable, "-c", program, *(str(folder / file) for file in files)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ((3, 12, 9), "fairseq is not installed; run: pip install 'speechprompt[fairseq]'"),
        ((3, 13, 0), "--verify: there is no fairseq for a Python newer than 3.12; use that, or leave it out"),
    ],
)
def test_without_fairseq_one_sentence_says_what_to_do(
    python: tuple[int, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installed, "find_spec", lambda _: None)
    monkeypatch.setattr(installed, "sys", SimpleNamespace(version_info=python))
    done = _import(str(tmp_path / "out"), *_gslm("--tokenizer-name", "any", "--verify"))
    assert done.code == 2
    assert done.stderr == f"error: {said}\n"
    assert not (tmp_path / "out").exists()


def test_an_import_that_computes_something_else_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "find_spec", lambda _: object())
    monkeypatch.setattr("workers.interop.verify.logits_difference", lambda *_: 0.5)
    done = _import(str(tmp_path / "out"), *_gslm("--tokenizer-name", "any", "--verify"))
    assert done.code == 2
    assert "the imported logits differ from fairseq's by up to 0.5; nothing was written" in done.stderr
    assert not (tmp_path / "out").exists()


Options = Callable[[Path, Path], tuple[str | Path, ...]]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (lambda _, __: _gslm(), "say how audio becomes units"),
        (lambda _, w: _gslm("--hubert", w / "hubert.pt"), "--hubert and --kmeans belong together"),
        (lambda _, w: (*_whole(w), "--tokenizer-name", "any"), "say how audio becomes units"),
        (lambda _, w: (*_whole(w), "--layer", "4"), "there is no layer 4 among 3"),
        (
            lambda _, w: (*_whole(w), "--hubert", w / "gslm_small.pt"),
            "this is a unit LM (it has decoder.embed_tokens.weight)",
        ),
        (lambda _, w: (*_whole(w), "--lm", w / "hubert.pt"), "give it with --hubert"),
        (lambda _, w: (*_whole(w), "--dict", w / "gslm_wide.dict.txt"), "name the dict.txt of this LM"),
        (lambda _, w: (*_whole(w), "--kmeans", _saved(_, np.zeros((100, 7)))), "centroids of 7"),
        (lambda _, w: (*_whole(w), "--kmeans", _saved(_, np.zeros((99, 32)))), "99 centroids for a unit LM of 100"),
        (lambda _, w: ("--lm", w / "gslm_small.pt", "--tokenizer-name", "any"), "give dict.txt with --dict"),
        (lambda _, w: ("--lm", w / "gslm_small.headless.pt", *_whole(w)[2:]), "with --heads"),
        (lambda _, w: (*_whole(w), "--f0-bins", w / "f0_bins.th"), "so --f0-bins means nothing"),
        (lambda _, w: (*_whole(w), "--f0-mean", "speaker"), "so --f0-mean means nothing"),
        (lambda _, w: ("--lm", w / "pgslm_discrete.pt", *_whole(w)[2:]), "leave --dict out"),
        (lambda _, __: _gslm("--tokenizer-name", "x" * 201), "--tokenizer-name is empty or longer than 200"),
        (lambda _, __: _gslm("--tokenizer-name", "any", "--name", "x" * 201), "--name: at most 200 characters"),
        (lambda t, w: (*_whole(w), "--lm", t / "gone.pt"), "there is no such file"),
        (
            lambda _, w: (*_whole(w), "--lm", w / "gslm_small.dict.txt"),
            "a dictionary of fairseq instead of a checkpoint",
        ),
        (lambda _, w: (*_whole(w), "--dict", w / "centroids.npy"), "a NumPy array instead of a dictionary"),
        (lambda _, w: (*_whole(w), "--kmeans", w / "gslm_small.dict.txt"), "a dictionary of fairseq instead of a k-me"),
        (lambda _, w: (*_whole(w), "--hubert", w / "centroids.npy"), "a NumPy array instead of a checkpoint"),
        (lambda t, w: (*_whole(w), "--kmeans", _saved(t, np.zeros((100, 1024)))), "as of HuBERT large, but features"),
        (lambda t, w: (*_whole(w), "--lm", _evil(t)), "refused, for reading it would call os.system"),
        (lambda t, w: (*_whole(w), "--hubert", _evil(t)), "refused, for reading it would call os.system"),
        (lambda t, w: (*_whole(w), "--kmeans", _evil(t)), "a checkpoint of torch.save instead of a k-means"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_nothing_is_written(
    tmp_path: Path, witness: Path, options: Options, said: str
) -> None:
    done = _import(str(tmp_path / "out"), *options(tmp_path, witness))
    assert done.code == 2
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "mark").exists()


def test_files_in_s3(s3: Any, witness: Path) -> None:
    place = s3.fresh_prefix()
    uploaded = []
    for option in _whole(witness):
        if isinstance(option, Path):
            uri = object_storage.join(place, option.name)
            object_storage.write_bytes(uri, option.read_bytes())
            option = uri
        uploaded.append(option)
    done = _import(object_storage.join(place, "out"), *uploaded)
    assert done.code == 0, done.stderr
    assert _inspect(object_storage.join(place, "out"))["units"] == 100


def _saved(folder: Path, centroids: np.ndarray[Any, Any]) -> Path:
    np.save(folder / "centroids.npy", centroids)
    return folder / "centroids.npy"


def _evil(folder: Path) -> Path:
    torch.save({"model": payload("os.system", folder / "mark")}, folder / "evil.pt")
    return folder / "evil.pt"
