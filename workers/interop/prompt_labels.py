"""Which label each class of a reference prompt is: the reference's ``verbalizer.json``, or a list of labels."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial

from infra.errors import BundleError
from infra.text_encoding import unicode_encoding
from workers.untrusted import strict_json
from workers.untrusted.file_kinds import DICTIONARY, JSON, TEXT, file_kind
from workers.untrusted.original_bytes import Original

_FILE = Original(
    "labels",
    "name verbalizer.json, or a list of labels",
    limit=4 << 20,
    error=BundleError,
    kinds=(JSON, TEXT),
)


@dataclass(frozen=True)
class ReferenceLabels:
    """Labels, and how the reference tells them apart.

    Attributes:
        place: the file, for errors.
        labels: in the order of the file.
        units: for each label the unit that stands for it; ``None`` if the file is a list in the order of classes.
    """

    place: str
    labels: tuple[str, ...]
    units: tuple[int, ...] | None


def read_labels(uri: str) -> ReferenceLabels:
    """A JSON document of ``{label: unit}``, as the reference writes it, or of a list; else one label per line.

    Raises:
        BundleError: there is no such file, a label stands there twice, or a label stands for several units.
        StorageError: the place cannot be read.
    """
    return _FILE.parsed(uri, partial(_labels, uri))


def _labels(uri: str, data: bytes) -> ReferenceLabels:
    text = data.decode(unicode_encoding(data))
    kind = file_kind(text.encode("utf-8"))
    if kind is not None and kind.what not in (JSON, TEXT, DICTIONARY):
        raise _FILE.other(uri, data)
    if not uri.endswith(".json") and (kind is None or kind.what != JSON):
        return _distinct(uri, [line.strip() for line in text.rstrip().split("\n")])
    document = strict_json.loads(text.encode("utf-8"))
    if isinstance(document, list):
        return _distinct(uri, document)
    if not isinstance(document, dict) or not document:
        raise BundleError(f"{uri}: neither labels with their units nor a list of labels; name the verbalizer.json")
    return ReferenceLabels(uri, tuple(document), tuple(_unit(uri, *entry) for entry in document.items()))


def _unit(uri: str, label: str, unit: object) -> int:
    if isinstance(unit, str) and len(unit.split()) > 1:
        raise BundleError(
            f"{uri}: {label!r} stands for several units, which the reference generates one after the other, each from "
            "the label before it; a bundle reads all slots at once, so tune this task again"
        )
    if type(unit) is int or (isinstance(unit, str) and unit.isascii() and unit.isdigit() and len(unit) < 8):
        return int(unit)
    raise BundleError(f"{uri}: {label!r} stands for {ascii(unit)[:40]}, which is no unit; name the verbalizer.json")


def _distinct(uri: str, labels: list[object] | list[str]) -> ReferenceLabels:
    if not labels or not all(isinstance(label, str) and label.strip() for label in labels):
        raise BundleError(f"{uri}: an empty label, or one that is no text; give one label per class")
    if len(set(labels)) != len(labels):
        twice = Counter(labels).most_common(1)[0][0]
        raise BundleError(
            f"{uri}: a label stands there twice, {ascii(twice)[:60]}; give one label per class, in their order"
        )
    return ReferenceLabels(uri, tuple(str(label) for label in labels), None)
