"""In which precision the frozen LM computes; what is trained is float32 always."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

import torch

Precision = Literal["auto", "fp32", "bf16"]


def has_bf16_units(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware: AVX512-BF16 or AMX on a CPU, Ampere or later."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The context in which matrix products run in the chosen precision; ``auto``: bf16 where it is fast."""
    enabled = precision == "bf16" or (precision == "auto" and has_bf16_units(device))
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
