"""What is fuzzed: each target takes any bytes, and lets no exception out but errors by name."""

from __future__ import annotations

import io
import json
import pickle
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.fuzzing.recordings import POLICIES, check
from benchmarks.fuzzing.recordings import seeds as recordings
from infra.digest import FileEntry
from infra.errors import SpeechPromptError
from task_specs.schema import load_task_spec
from tests.fixtures.bundles import random_bundle
from tests.fixtures.tuning import tiny_backbone
from workers.backbone.description import BACKBONE_FILE, LM_FILE, TOKENIZER_FILE, parse_description
from workers.backbone.directory import Backbone, write_backbone
from workers.bundle.format import (
    Bundle,
    check_file,
    pack,
    parse_latest,
    parse_manifest,
    parse_tensors,
    require_usable,
    size_limit,
)
from workers.bundle.manifest import MANIFEST_FILE, PROMPT_FILE
from workers.fairseq.checkpoint import read_checkpoint
from workers.inference.classifier import Classifier
from workers.interop.centroids import read_centroids
from workers.speech.tokenizer import build_tokenizer

_BETWEEN = b"\n\x00prompt\x00\n"


class Target(NamedTuple):
    """A reader, and whole inputs to begin with."""

    read: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    what: str


def one(target: Target, data: bytes) -> None:
    """Read once; any error but one by name is a crash."""
    with suppress(SpeechPromptError):
        target.read(data)


@cache
def _backbone() -> Backbone:
    return tiny_backbone()


def _bundles() -> list[Bundle]:
    backbone = _backbone()
    sizes: dict[str, Any] = {
        "layers": backbone.config.layers,
        "dim": backbone.config.dim,
        "vocabulary": backbone.config.vocabulary,
    }
    identity: dict[str, Any] = {"unit_lm": backbone.lm_fingerprint, "tokenizer": backbone.tokenizer_fingerprint}
    kinds: list[Any] = ["linear", "random"]
    return [random_bundle(verbalizer=kind, length=1, **sizes, **identity) for kind in kinds]


def _manifests() -> list[bytes]:
    return [pack(bundle).files[MANIFEST_FILE] for bundle in _bundles()]


def _prompt(data: bytes) -> None:
    parse_tensors(data, random_bundle(layers=1, length=1, dim=2, vocabulary=5).manifest, file="prompt.safetensors")


def _forged(data: bytes) -> None:
    """A bundle that vouches for whatever it is made of, up to an answer of the classifier."""
    document, _, prompt = data.partition(_BETWEEN)
    with suppress(ValueError, RecursionError):
        described = json.loads(document)
        if isinstance(described, dict):
            described["files"] = {
                name: FileEntry.of(content).model_dump()
                for name, content in ((PROMPT_FILE, prompt), ("README.md", b""))
            }
            described["backbone"] = {
                "unit_lm": _backbone().lm_fingerprint,
                "tokenizer": _backbone().tokenizer_fingerprint,
            }
            document = json.dumps(described).encode()
    manifest = parse_manifest(document, file=MANIFEST_FILE)
    if manifest.files[PROMPT_FILE].size > size_limit(PROMPT_FILE, manifest):
        return
    check_file(prompt, manifest.files[PROMPT_FILE], file=PROMPT_FILE)
    bundle = Bundle(manifest, parse_tensors(prompt, manifest, file=PROMPT_FILE))
    require_usable(bundle.manifest, bundle.tensors)
    Classifier([bundle], _backbone()).classify_units([np.array([1, 2, 3], np.int16)])


def _backbone_settings(data: bytes) -> None:
    described = parse_description(data, file=BACKBONE_FILE)
    build_tokenizer(described.tokenizer, _backbone().tokenizer.tensors())


@cache
def _directory() -> Path:
    # In memory where there is such a place: a disk would set the pace.
    shared = Path("/dev/shm")  # noqa: S108
    return Path(tempfile.mkdtemp(prefix="spfuzz", dir=shared if shared.is_dir() else None))


def _of_file(name: str, read: Callable[[str], object]) -> Callable[[bytes], object]:
    def of_bytes(data: bytes) -> object:
        path = _directory() / name
        path.write_bytes(data)
        return read(str(path))

    return of_bytes


def _written_backbone() -> list[bytes]:
    with tempfile.TemporaryDirectory() as directory:
        write_backbone(_backbone(), directory)
        described = (Path(directory) / BACKBONE_FILE).read_bytes()
    document = json.loads(described)
    first = {name: value for name, value in document.items() if name != "files"} | {"format_version": 1}
    assert {LM_FILE, TOKENIZER_FILE} == document["files"].keys()
    multistream = document | {"unit_lm": document["unit_lm"] | {"kind": "pgslm", "prosody": {}}}
    return [described, json.dumps(first).encode(), json.dumps(multistream).encode()]


def _task_specs() -> list[bytes]:
    return [
        b"name: wake\nfamily: SCR\nlanguage: lt\ndata: {reader: manifest, path: w.csv, root: .., label: word}\n"
        b"seeds: 3\n",
        b"name: x\ndata: {reader: folders, root: r, speaker: '([a-z]+)_'}\nsweep:\n  learning_rate: [0.002, 5e-3]\n"
        b"  halving: {eta: 2, rungs: 2}\nmetric: eer\npositive: b\nshots: 10\nrecipe: {balance: sampling}\n"
        b"audio: {max_seconds: 10, too_long: window}\nworkers: 4\n",
        b"a: &a [1]\nb: &b [*a, *a]\n<<: {name: !!int 'x'}\n? {c: d}\n: e\n",
    ]


def _checkpoints() -> list[bytes]:
    content = {
        "args": None,
        "model": {"w": torch.arange(6.0), "h": torch.zeros(2, 2).half()},
        "cfg": {"task": {"a": 1}},
    }
    seeds = []
    settings: list[Mapping[str, Any]] = [{}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 4}]
    for options in settings:
        buffer = io.BytesIO()
        torch.save(content, buffer, **options)
        seeds.append(buffer.getvalue())
    return seeds


def _kmeans() -> list[bytes]:
    return [pickle.dumps({"cluster_centers_": np.zeros((2, 3), np.float32)}, protocol=4)]


TARGETS: dict[str, Target] = {
    "manifest": Target(lambda data: parse_manifest(data, file=MANIFEST_FILE), _manifests, "bundle.json"),
    "latest": Target(
        lambda data: parse_latest(data, file="latest.json"),
        lambda: [b'{"format_version":1,"version":"0123456789abcdef"}'],
        "latest.json",
    ),
    "prompt": Target(
        _prompt,
        lambda: [pack(random_bundle(layers=1, length=1, dim=2, vocabulary=5)).files[PROMPT_FILE]],
        "prompt.safetensors",
    ),
    "bundle": Target(
        _forged,
        lambda: [_BETWEEN.join((files[MANIFEST_FILE], files[PROMPT_FILE])) for files in map(_files, _bundles())],
        "a bundle with recomputed digests, up to an answer",
    ),
    "backbone": Target(_backbone_settings, _written_backbone, "backbone.json, up to a tokenizer"),
    "task_spec": Target(_of_file("task.yaml", load_task_spec), _task_specs, "a task spec"),
    "checkpoint": Target(_of_file("checkpoint.pt", read_checkpoint), _checkpoints, "a checkpoint of fairseq"),
    "audio": Target(
        lambda data: check(data, POLICIES[0]),
        lambda: [seed.data for seed in recordings()],
        "a recording, up to a waveform of which all holds that must",
    ),
    "kmeans": Target(_of_file("km.bin", read_centroids), _kmeans, "km.bin"),
}


def _files(bundle: Bundle) -> Mapping[str, bytes]:
    return pack(bundle).files
