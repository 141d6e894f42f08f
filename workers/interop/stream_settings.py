"""The settings of a pGSLM's duration and F0 streams, out of its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from infra.errors import BackboneError
from workers.interop.checkpoint import FairseqCheckpoint
from workers.speech.unit_prosody import ProsodySettings
from workers.unit_lm.pgslm import SPECIAL_IDS
from workers.untrusted.pickles import shown

_F0_TABLE = "decoder.embed_other_list.1.weight"


def stream_settings(
    checkpoint: FairseqCheckpoint,
    tensors: Mapping[str, Tensor],
    *,
    f0_edges: Mapping[int, tuple[float, ...]] | None,
    f0_mean: str,
) -> dict[str, Any]:
    """The fields of ``MultistreamConfig`` that its task states.

    Raises:
        BackboneError: a setting is missing, or asks for streams that ``MultistreamLM`` does not have; discrete F0
            without its bins, or bins without discrete F0.
    """
    place = checkpoint.place
    discrete = checkpoint.flag("discrete_duration")
    _expect(checkpoint, "discrete_f0", checkpoint.flag("discrete_f0"), discrete)
    _expect(checkpoint, "log_f0", checkpoint.flag("log_f0"), True)
    _expect(checkpoint, "stream_shifts", checkpoint.task.get("stream_shifts"), "1,1")
    settings: dict[str, Any] = {
        "streams": "discrete" if discrete else "continuous",
        "ignore_duration": checkpoint.flag("ignore_duration_input"),
        "ignore_f0": checkpoint.flag("ignore_f0_input"),
        "prosody": ProsodySettings.model_validate(
            {
                "f0_mean": f0_mean if checkpoint.flag("normalize_f0_mean") else "none",
                "f0_std": checkpoint.flag("normalize_f0_std"),
                "interpolate": checkpoint.flag("interpolate_f0"),
            }
        ),
    }
    if not discrete:
        if f0_edges is not None:
            raise BackboneError(f"{place}: continuous F0 has no bins; leave --f0-bins out")
        return settings
    if f0_edges is None:
        raise BackboneError(
            f"{place}: discrete F0 needs the edges of its bins; give mean_norm_log_f0_seg_bin.th with --f0-bins"
        )
    bins = len(table) - SPECIAL_IDS if (table := tensors.get(_F0_TABLE)) is not None and table.dim() else 32
    if bins not in f0_edges:
        raise BackboneError(
            f"{place}: {bins} F0 bins, but --f0-bins has edges for {', '.join(map(str, f0_edges))}; "
            "give the file that this model was trained with"
        )
    return {**settings, "duration_cap": checkpoint.count("max_token_duration"), "f0_edges": f0_edges[bins]}


def _expect(checkpoint: FairseqCheckpoint, name: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise BackboneError(
            f"{checkpoint.place}: cfg.task.{name} is {shown(found)}, but this model reads {wanted!r}; "
            "name one of the published pGSLM checkpoints"
        )
