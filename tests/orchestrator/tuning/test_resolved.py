"""Settings that are ``auto`` in a job file, found once."""

from __future__ import annotations

from pathlib import Path

from orchestrator.tuning.resolved import ResolvedSettings
from workers.precision import ResolvedPrecision


class Found:
    """Counts how often somebody looks."""

    def __init__(self) -> None:
        self.looked = 0
        self.said: list[str] = []

    def settings(self, root: str, *, anew: bool = False) -> ResolvedSettings:
        return ResolvedSettings(root, anew=anew, say=self.said.append)

    def bf16(self) -> ResolvedPrecision:
        self.looked += 1
        return "bf16"

    def fp32(self) -> ResolvedPrecision:
        self.looked += 1
        return "fp32"

    def measured(self, width: int) -> int:
        self.looked += 1
        return width


def test_the_precision_of_a_job_stays_what_it_was_on_the_first_machine(store_root: str) -> None:
    found = Found()
    assert found.settings(store_root).precision("auto", found.bf16) == "bf16"
    settings = found.settings(store_root)
    assert settings.precision("auto", found.fp32) == "bf16"
    assert settings.precision("fp32", found.bf16) == "fp32", "the job file has the last word"
    assert found.looked == 1
    assert found.settings(store_root, anew=True).precision("auto", found.fp32) == "fp32"
    assert found.settings(store_root).precision("auto", found.bf16) == "fp32"


def test_the_width_of_a_job_is_measured_once_and_again_when_it_has_grown(tmp_path: Path) -> None:
    found = Found()
    root = str(tmp_path)
    assert found.settings(root).width(4, lambda: found.measured(4)) == 4
    assert found.settings(root).width(3, lambda: found.measured(1)) == 3
    assert found.looked == 1
    assert found.settings(root).width(16, lambda: found.measured(8)) == 8, "more than 4 were of no use before"
    assert found.settings(root).width(64, lambda: found.measured(1)) == 8, "more than 8 did not pay"
    assert found.looked == 2


def test_what_is_damaged_is_found_anew(tmp_path: Path) -> None:
    found = Found()
    found.settings(str(tmp_path)).precision("auto", found.bf16)
    (tmp_path / "gangs" / "resolved.json").write_text("{}")
    assert found.settings(str(tmp_path)).precision("auto", found.fp32) == "fp32"
    assert "what was auto is found anew" in found.said[0]
    assert found.settings(str(tmp_path)).precision("auto", found.bf16) == "fp32"
