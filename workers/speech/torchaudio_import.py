"""The one door to torchaudio: everything else imports its parts from here.

torchaudio's wheels link CUDA, so beside a CPU-only torch its compiled extension cannot load and the import
fails. Nothing used here needs the extension, so a stub takes its place when torch has no CUDA.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch


def _fail_if_no_align(function: Callable[..., Any]) -> Callable[..., Any]:
    def unavailable(*_: object, **__: object) -> None:
        raise RuntimeError(f"{function.__name__} needs torchaudio's compiled extension and a CUDA build of torch")

    return unavailable


def _stub_extension() -> ModuleType:
    stub = ModuleType("torchaudio._extension")
    stub.__dict__.update(
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        _IS_ALIGN_AVAILABLE=False,
        _check_cuda_version=lambda: None,
        fail_if_no_align=_fail_if_no_align,
    )
    return stub


if torch.version.cuda is None:
    sys.modules.setdefault("torchaudio._extension", _stub_extension())

from torchaudio.compliance import kaldi  # noqa: E402  (only after the stub)
from torchaudio.functional import compute_deltas  # noqa: E402
from torchaudio.models import wav2vec2_model  # noqa: E402
from torchaudio.transforms import Resample  # noqa: E402

__all__ = ["Resample", "compute_deltas", "kaldi", "wav2vec2_model"]
