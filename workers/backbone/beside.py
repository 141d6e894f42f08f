"""Backbones that lie beside bundles: ``<bundles>/backbones/<unit LM>-<tokenizer>``, one for all bundles made for it.

The name is made of fingerprints, so a bundle finds its backbone by what it is, wherever both were copied to.
"""

from __future__ import annotations

from typing import Final

from infra import object_storage
from workers.backbone.description import BACKBONE_FILE
from workers.backbone.directory import read_backbone, write_backbone

DIRECTORY: Final = "backbones"
_DIGITS: Final = 16


def place_beside(bundles: str, *, unit_lm: str, tokenizer: str) -> str:
    """Where the backbone of these fingerprints lies, or would lie, beside the bundles of a directory."""
    return object_storage.join(bundles, DIRECTORY, f"{unit_lm[:_DIGITS]}-{tokenizer[:_DIGITS]}")


def backbone_beside(bundle: str, *, unit_lm: str, tokenizer: str) -> str | None:
    """The backbone of these fingerprints that lies beside a bundle; ``None`` where there is none.

    Args:
        bundle: directory of a task, or of one version of it.
        unit_lm, tokenizer: fingerprints; whoever reads what is found must compare the whole of them.

    Raises:
        StorageError: the place cannot be read.
    """
    task = object_storage.parent(bundle.rstrip("/"))
    for bundles in (task, object_storage.parent(task)):
        place = place_beside(bundles, unit_lm=unit_lm, tokenizer=tokenizer)
        if object_storage.exists(object_storage.join(place, BACKBONE_FILE)):
            return place
    return None


def pull_backbone(uri: str, bundles: str) -> str:
    """Copy a backbone beside the bundles of a directory, with every file checked; returns where it lies then.

    Args:
        uri: absolute; of the backbone.
        bundles: absolute; directory of bundles, or any other.

    Raises:
        BackboneError: there is none, or it is not what its fingerprints say.
        StorageError: one of the places cannot be used.
    """
    backbone = read_backbone(uri)
    place = place_beside(bundles, unit_lm=backbone.lm_fingerprint, tokenizer=backbone.tokenizer_fingerprint)
    write_backbone(backbone, place)
    return place
