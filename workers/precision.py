"""In which precision the frozen LM computes; what is trained is float32 always."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

ResolvedPrecision = Literal["fp32", "bf16"]
Precision = Literal["auto", "fp32", "bf16"]


def has_bf16_units(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware: AVX512-BF16 or AMX on a CPU, Ampere or later."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def resolve(precision: Precision, device: torch.device) -> ResolvedPrecision:
    """What a precision is on a device; ``auto``: bf16 where it is fast."""
    if precision != "auto":
        return precision
    return "bf16" if has_bf16_units(device) else "fp32"


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The context in which matrix products run in the chosen precision, as resolved on the device."""
    import torch

    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=resolve(precision, device) == "bf16")
