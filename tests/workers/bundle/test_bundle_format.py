from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from infra.errors import BundleError
from tests.fixtures.bundles import TOKENIZER, UNIT_LM, random_bundle
from workers.bundle.format import Bundle, BundleManifest, pack, parse_latest, parse_manifest, parse_tensors
from workers.bundle.manifest import CARD_FILE, MANIFEST_FILE, PAYLOAD, PROMPT_FILE
from workers.prompting import prompt as trained
from workers.untrusted import strict_json

LABELS = st.lists(
    st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=8),
    min_size=1,
    max_size=5,
    unique=True,
)


@settings(max_examples=40, deadline=None)
@given(
    slots=st.dictionaries(st.text("abc", min_size=1, max_size=3), LABELS, min_size=1, max_size=3),
    kinds=st.sampled_from(
        [
            ("separator", "linear"),
            ("separator", "frequency"),
            ("separator", "random"),
            ("mean", "linear"),
            ("pooled", "linear"),
        ]
    ),
    seed=st.integers(0, 2**32 - 1),
    sizes=st.tuples(st.integers(1, 3), st.integers(0, 4), st.integers(1, 5)),
)
def test_packing_and_parsing_are_inverse(
    slots: dict[str, list[str]],
    kinds: tuple[Literal["separator", "mean", "pooled"], Literal["linear", "frequency", "random"]],
    seed: int,
    sizes: tuple[int, int, int],
) -> None:
    (reading, verbalizer), (layers, length, dim) = kinds, sizes
    bundle = random_bundle(
        seed=seed, slots=slots, reading=reading, verbalizer=verbalizer, layers=layers, length=length, dim=dim
    )
    packed = pack(bundle)
    assert tuple(packed.files) == (*PAYLOAD, MANIFEST_FILE)
    manifest = parse_manifest(packed.files[MANIFEST_FILE], file="bundle.json")
    assert manifest == packed.manifest
    assert manifest.version == packed.manifest.version
    assert manifest.model_copy(update={"files": {}}) == bundle.manifest
    tensors = parse_tensors(packed.files[PROMPT_FILE], manifest, file="prompt.safetensors")
    assert tensors.keys() == bundle.tensors.keys()
    assert all(np.array_equal(tensors[name], bundle.tensors[name]) for name in tensors)
    assert manifest.parameters == sum(array.size for array in tensors.values())


def test_version_is_of_the_content_and_not_of_the_provenance() -> None:
    first = pack(random_bundle())
    later = pack(random_bundle(created=datetime(2030, 1, 1, tzinfo=UTC), run_id="another"))
    assert later.manifest.version == first.manifest.version
    assert later.files[PROMPT_FILE] == first.files[PROMPT_FILE]
    assert later.files[CARD_FILE] == first.files[CARD_FILE]
    assert later.files[MANIFEST_FILE] != first.files[MANIFEST_FILE]
    assert pack(random_bundle(seed=1)).manifest.version != first.manifest.version
    assert pack(random_bundle(unit_lm="d" * 64)).manifest.version != first.manifest.version


def test_the_format_is_pinned() -> None:
    """A released reader must find what a released writer wrote: these change with ``format_version`` only."""
    # The card is left out: its words may change at any time.
    tensors = pack(random_bundle()).files[PROMPT_FILE]
    payload = [(PROMPT_FILE, tensors), (CARD_FILE, b"card")]
    assert first_format().with_files(payload).version == "056366996a020060"
    manifest = random_bundle().manifest.with_files(payload)
    assert manifest.version == "d35675a56e809da0"
    assert third_format().with_files(payload).version == "3386130e9d504c72"
    assert set(manifest.model_dump()) == set(first_format().model_dump()) - {"preprocessing"} | {"inference"}
    assert manifest.model_dump()["inference"] == {
        "sample_rate": 16_000,
        "audio": {
            "min_seconds": 0.1,
            "max_seconds": 30.0,
            "too_long": "crop",
            "too_short": "quarantine",
            "unreadable": "quarantine",
        },
        "separator_prosody": "last",
    }
    assert set(first_format().model_dump()) == {
        "backbone",
        "data",
        "files",
        "format_version",
        "metric",
        "preprocessing",
        "prompt",
        "provenance",
        "recipe",
        "results",
        "seed",
        "slots",
        "task",
    }


def first_format() -> BundleManifest:
    """A manifest as the first versions wrote them."""
    document = json.loads(random_bundle().manifest.model_dump_json())
    del document["inference"], document["prompt"]["reading"]
    document |= {"format_version": 1, "preprocessing": {"sample_rate": 16000, "max_seconds": 30.0}}
    return BundleManifest.model_validate_json(json.dumps(document))


def third_format(**prompt: Any) -> BundleManifest:
    """A manifest as it was before there were readings."""
    document = json.loads(random_bundle().manifest.model_dump_json())
    del document["prompt"]["reading"]
    document["prompt"] |= prompt
    return BundleManifest.model_validate_json(json.dumps(document | {"format_version": 3}))


def calibrated(**changes: Any) -> BundleManifest:
    """A manifest with all that is new in format 2."""
    document = json.loads(first_format().model_dump_json()) | {
        "format_version": 2,
        "metric": {"name": "eer", "positive": "yes"},
        "calibration": {"temperatures": [1.5]},
    }
    document["results"]["test"]["accuracy"]["interval"] = [0.6, 0.9]
    return BundleManifest.model_validate_json(json.dumps(document | changes))


def test_the_second_format_is_pinned_and_the_first_is_what_it_was() -> None:
    assert calibrated().version == "22ca773f721d73b9"
    assert calibrated().temperatures == (1.5,)
    assert random_bundle().manifest.temperatures == (1.0,)
    packed = pack(replace(random_bundle(), manifest=calibrated()))
    assert parse_manifest(packed.files[MANIFEST_FILE], file="bundle.json") == packed.manifest
    document = json.loads(pack(replace(random_bundle(), manifest=first_format())).files[MANIFEST_FILE])
    assert "calibration" not in document
    assert "interval" not in document["results"]["test"]["accuracy"]


@pytest.mark.parametrize("prompt", [{"reading": "pooled"}, {"length": 0}])
def test_the_third_format_has_no_readings_and_no_empty_prompts(prompt: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="format_version 4"):
        third_format(**prompt)


@pytest.mark.parametrize(
    "prompt",
    [
        {"members": [0, 0]},
        {"members": [0]},
        {"members": []},
        {"members": None},
        {"members": [0, 1.5]},
        {"members": list(range(101))},
        {"verbalizer": "frequency", "verbalizer_units": [[1, 2]]},
    ],
)
def test_an_ensemble_names_its_seeds(prompt: dict[str, Any]) -> None:
    """The fifth format, which bundles of one prompt do not have."""
    manifest = random_bundle(members=(0, 3), reading="pooled").manifest
    assert manifest.format_version == 5
    assert random_bundle().manifest.format_version == 4
    assert set(manifest.model_dump()["prompt"]) == set(random_bundle().manifest.model_dump()["prompt"]) | {"members"}
    assert manifest.tensor_shapes == {
        name: (2, *shape) for name, shape in random_bundle(reading="pooled").manifest.tensor_shapes.items()
    }
    document = json.loads(manifest.model_dump_json())
    document["prompt"] |= prompt
    with pytest.raises(ValidationError, match="members"):
        BundleManifest.model_validate_json(json.dumps(document))


@pytest.mark.parametrize("prompt", [{"verbalizer": "random", "verbalizer_units": [[1, 2]]}, {"special_rows": 4}])
def test_only_a_plain_linear_verbalizer_reads_features(prompt: dict[str, Any]) -> None:
    document = json.loads(random_bundle(reading="pooled").manifest.model_dump_json())
    document["prompt"] |= prompt
    with pytest.raises(ValidationError, match="features to a linear verbalizer"):
        BundleManifest.model_validate_json(json.dumps(document))


@pytest.mark.parametrize(
    "changes",
    [
        {"calibration": {"temperatures": [1.0, 1.0]}},
        {"calibration": {"temperatures": [0.0]}},
        {"metric": {"name": "eer", "positive": "perhaps"}},
    ],
)
def test_calibration_belongs_to_the_slots(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        calibrated(**changes)


@pytest.mark.parametrize("reading", ["separator", "mean", "pooled"])
def test_tensors_are_named_as_tuning_names_them(reading: Literal["separator", "mean", "pooled"]) -> None:
    shape = trained.PromptShape(2, 3, 4, 11, classes=(2, 3), verbalizer="linear", reading=reading)
    manifest = random_bundle(reading=reading, slots={"a": ["x", "y"], "b": ["x", "y", "z"]}).manifest
    assert manifest.tensor_shapes == dict(shape.tensors)
    assert manifest.parameters == shape.size


Tensors = dict[str, NDArray[Any]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {**t, "prompt.keys": t["prompt.keys"][:, :2]}, "prompt.keys is float32"),
        (lambda t: {**t, "separators": t["separators"].astype(np.float64)}, "separators is float64"),
        (lambda t: {**t, "separators": t["separators"] * np.nan}, "not finite"),
        (lambda t: {**t, "prompt.values": t["prompt.values"] + np.float32(np.inf)}, "not finite"),
        (lambda t: {**t, "more": t["separators"]}, "'more' is unknown"),
        (lambda t: {name: t[name] for name in t if name != "separators"}, "'separators' is missing"),
    ],
)
def test_tensors_that_differ_from_the_manifest(change: Callable[[Tensors], Tensors], message: str) -> None:
    bundle = random_bundle()
    with pytest.raises(BundleError, match=message):
        pack(replace(bundle, tensors=change(dict(bundle.tensors))))


def test_another_backbone_is_refused() -> None:
    bundle = random_bundle()
    bundle.check_backbone(unit_lm=UNIT_LM, tokenizer=TOKENIZER)
    with pytest.raises(BundleError, match="another unit LM"):
        bundle.check_backbone(unit_lm="0" * 64, tokenizer=TOKENIZER)
    with pytest.raises(BundleError, match="another tokenizer"):
        bundle.check_backbone(unit_lm=UNIT_LM, tokenizer="0" * 64)


def _document(bundle: Bundle | None = None) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(pack(bundle or random_bundle()).files[MANIFEST_FILE])
    return document


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        *parents, last = path.split("/")
        for name in parents:
            document = document[int(name) if isinstance(document, list) else name]
        document[last] = value

    return change


ENTRY = {"sha256": "0" * 64, "size": 1}
HOSTILE: dict[str, Callable[[dict[str, Any]], None]] = {
    "unknown field": _set("surprise", 1),
    "unknown field within": _set("prompt/surprise", 1),
    "format after what it has": _set("format_version", 5),
    "newer format": _set("format_version", 6),
    "members of a later format": _set("prompt/members", [0, 1]),
    "format before the reading it has": _set("format_version", 3),
    "no reading": _set("prompt/reading", None),
    "unknown reading": _set("prompt/reading", "aloud"),
    "format before the sections it has": _set("format_version", 2),
    "preprocessing beside inference": _set("preprocessing", {}),
    "no inference": _set("inference", None),
    "no sample rate": _set("inference/sample_rate", None),
    "sample rate as text": _set("inference/sample_rate", "16000"),
    "no samples": _set("inference/sample_rate", 0),
    "unknown setting of audio": _set("inference/audio/loudness", 1),
    "shortest recording above the longest": _set("inference/audio/min_seconds", 31),
    "unknown way with long recordings": _set("inference/audio/too_long", "stretch"),
    "unknown prosody of separators": _set("inference/separator_prosody", "first"),
    "format as a truth value": _set("format_version", True),
    "number as text": _set("prompt/length", "3"),
    "number as fraction": _set("prompt/length", 3.5),
    "huge prompt": _set("prompt/dim", 10**9),
    "negative size": _set("files/README.md/size", -1),
    "task name climbs": _set("task/name", "../../etc"),
    "task name with a line break": _set("task/name", "toy\n"),
    "file name climbs": _set("files", {"../evil": ENTRY, "prompt.safetensors": ENTRY}),
    "one file more": _set("files/pickle.bin", ENTRY),
    "one file less": _set("files", {"README.md": ENTRY}),
    "no files": _set("files", {}),
    "digest of another kind": _set("files/README.md/sha256", "A" * 64),
    "escape sequence in a label": _set("slots/0/labels", ["no", "\x1b[2J"]),
    "label twice": _set("slots/0/labels", ["no", "no"]),
    "no labels": _set("slots/0/labels", []),
    "endless label": _set("slots/0/labels", ["no", "x" * 10_000]),
    "no slots": _set("slots", []),
    "unknown split": _set("results/dev", {}),
    "units of a linear verbalizer": _set("prompt/verbalizer_units", [[1, 2]]),
    "frequency without units": _set("prompt/verbalizer", "frequency"),
    "time without zone": _set("provenance/created", "2025-01-01T00:00:00"),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_manifest(change: Callable[[dict[str, Any]], None]) -> None:
    _is_refused(_document(), change)


OF_LATER_FORMATS: dict[str, Callable[[dict[str, Any]], None]] = {
    "calibration": _set("calibration", {"temperatures": [2.0]}),
    "interval": _set("results/test/accuracy/interval", [0.1, 0.9]),
    "long recordings": _set("data/long", 3),
    "few shots": _set("data/shots", 3),
    "positive class": _set("metric/positive", "yes"),
    "inference": _set("inference", {"sample_rate": 16_000, "audio": {}, "separator_prosody": "last"}),
    "no preprocessing": _set("preprocessing", None),
}


@pytest.mark.parametrize("change", OF_LATER_FORMATS.values(), ids=OF_LATER_FORMATS.keys())
def test_the_first_format_has_nothing_of_later_ones(change: Callable[[dict[str, Any]], None]) -> None:
    _is_refused(_document(replace(random_bundle(), manifest=first_format())), change)


def _is_refused(document: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> None:
    assert parse_manifest(json.dumps(document).encode(), file="here/bundle.json")
    change(document)
    with pytest.raises(BundleError, match=r"^here/bundle\.json") as caught:
        parse_manifest(json.dumps(document).encode(), file="here/bundle.json")
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("units", [[[1, 1]], [[1]], [[1, 11]], [[1, -1]], [[1, 2], [3, 4]], None])
def test_verbalizer_units_are_one_entry_per_label(units: Any) -> None:
    document = _document(random_bundle(verbalizer="random"))
    document["prompt"]["verbalizer_units"] = units
    with pytest.raises(BundleError):
        parse_manifest(json.dumps(document).encode(), file="bundle.json")


def test_a_newer_format_says_what_to_do() -> None:
    document = _document() | {"format_version": 7, "unknown": 1}
    with pytest.raises(BundleError, match="update speechprompt"):
        parse_manifest(json.dumps(document).encode(), file="bundle.json")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b'{"a": 1, "a": 1}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b"[" * 200_000,
        b'{"a": ' + b"9" * 10_000 + b"}",
    ],
    ids=lambda text: str(text[:20]),
)
def test_json_that_is_not_plain(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the kinds of fault share no words
        strict_json.loads(text)
    with pytest.raises(BundleError):
        parse_manifest(text, file="bundle.json")
    with pytest.raises(BundleError):
        parse_latest(text, file="latest.json")


@pytest.mark.parametrize(
    "text",
    [
        b"[]",
        b'{"format_version": 1, "version": "../../../../../x"}',
        b'{"format_version": 1, "version": "0123456789abcdef\\n"}',
    ],
)
def test_a_pointer_that_is_none(text: bytes) -> None:
    with pytest.raises(BundleError):
        parse_latest(text, file="latest.json")


def _safetensors(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def test_hostile_safetensors() -> None:
    bundle = random_bundle()
    good = pack(bundle).files[PROMPT_FILE]
    entry = b'"separators":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    other = {name: array.astype(np.float16) for name, array in bundle.tensors.items()}
    for data in (
        b"",
        good[:-1],
        good + b"\0",
        (2**63).to_bytes(8, "little") + good[8:],
        _safetensors(b"{" + entry + b"," + entry + b"}", bytes(4)),
        _safetensors(b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}', bytes(4)),
        safetensors.numpy.save(other),
        safetensors.numpy.save(dict(bundle.tensors), metadata={"note": "more"}),
    ):
        with pytest.raises(BundleError, match=r"^p\.safetensors"):
            parse_tensors(data, bundle.manifest, file="p.safetensors")


@settings(max_examples=60, deadline=None)
@given(position=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_no_byte_of_a_file_can_break_the_parsers(position: float, byte: int) -> None:
    files = pack(random_bundle()).files
    for name in (MANIFEST_FILE, PROMPT_FILE):
        data = bytearray(files[name])
        data[int(position * len(data))] = byte
        try:
            if name == MANIFEST_FILE:
                parse_manifest(bytes(data), file=name)
            else:
                parse_tensors(bytes(data), random_bundle().manifest, file=name)
        except BundleError:
            continue


def test_settings_that_json_cannot_say_are_refused_when_made() -> None:
    manifest = random_bundle().manifest.model_dump()
    with pytest.raises(ValidationError):
        BundleManifest.model_validate(manifest | {"recipe": {"learning_rate": float("nan")}})
