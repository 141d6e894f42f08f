"""The multi-stream LM, its streams and its losses, against the reference and against itself."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from tests.fixtures.golden import expected, toy_multistream_lm
from tests.fixtures.shared_data import shared_folder
from workers.speech.prosody import Pitch, PitchStatistics
from workers.speech.sequences import UnitSequences
from workers.speech.unit_prosody import ProsodySettings, UnitProsody, unit_prosody
from workers.speech.units import Units
from workers.unit_lm.kinds import build_lm, parameter_count
from workers.unit_lm.pgslm.config import PGSLMConfig
from workers.unit_lm.pgslm.model import PGSLM
from workers.unit_lm.pgslm.pretraining import NextUnitAndProsody, StreamsBatch
from workers.unit_lm.pgslm.streams import prosody_inputs

Kind = Literal["discrete", "continuous"]
KINDS: tuple[Kind, ...] = ("discrete", "continuous")
UNITS = np.arange(100, dtype=np.int64)
PUBLISHED: dict[str, Any] = {"layers": 12, "dim": 1024, "heads": 16, "ffn_dim": 4096}
EDGES = tuple(float(edge) for edge in np.linspace(-1, 1, 31))


class Golden:
    """Utterances of the golden vectors: what was recorded of them, and what the reference makes of it."""

    def __init__(self, kind: Kind) -> None:
        folder = shared_folder("golden/pgslm")
        self.arrays = expected(folder / f"expected_{kind}.npz")
        self.lm = toy_multistream_lm(folder, kind)
        self.rows = np.arange(len(self.arrays["segment_counts"]))
        self.sequences = UnitSequences.of([units.units for units in self._units()], self._prosody())

    def batch(self) -> StreamsBatch:
        return NextUnitAndProsody(self.lm).batch(self.sequences, self.rows, UNITS)

    def packed(self, name: str) -> Tensor:
        """An array of the reference without its padding, laid end to end."""
        return torch.from_numpy(self.arrays[name][self.arrays["position_mask"]])

    def _units(self) -> list[Units]:
        arrays, found = self.arrays, []
        for row, count in enumerate(arrays["segment_counts"] - 1):
            pitch = Pitch(arrays["segment_f0_hz"][row, :count], self._statistics(int(arrays["speaker"][row])))
            units = arrays["segment_codes"][row, :count].astype(np.int16)
            found.append(Units(units, arrays["segment_durations"][row, :count].astype(np.int32), pitch))
        return found

    def _statistics(self, speaker: int) -> PitchStatistics:
        # The reference's mean is over more utterances than are shown, so it is given rather than summed up.
        mean = float(self.arrays["speaker_logf0_mean"][speaker])
        return PitchStatistics(count=1, total=mean, squares=mean**2)

    def _prosody(self) -> list[UnitProsody]:
        units = self._units()
        return unit_prosody(units, [None] * len(units), ProsodySettings(f0_mean="utterance"))


@pytest.mark.parametrize("kind", KINDS)
def test_streams_and_masks_are_the_references(kind: Kind) -> None:
    golden = Golden(kind)
    batch = golden.batch()
    inputs = prosody_inputs(batch.rows, golden.lm.config)
    assert inputs.present is not None
    assert inputs.present.all()
    exact = {
        "src_tokens": batch.rows.tokens,
        "target": batch.targets,
        "dur_src": inputs.durations,
        "dur_target": batch.durations,
        "mask": batch.units_asked == 0,
        "dur_mask": batch.prosody_asked == 0,
        "f0_mask": batch.prosody_asked == 0,
    }
    for name, found in exact.items():
        assert torch.equal(found, golden.packed(name)), name
    for name, found in {"f0_src": inputs.f0, "f0_target": batch.f0}.items():
        torch.testing.assert_close(found, golden.packed(name), rtol=0, atol=0 if kind == "discrete" else 1e-6)


@pytest.mark.parametrize("ignore", [False, True], ids=["prosody", "ignored"])
@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_the_references(kind: Kind, ignore: bool) -> None:
    golden = Golden(kind)
    golden.lm.config = golden.lm.config.model_copy(update={"ignore_duration": ignore, "ignore_f0": ignore})
    batch = golden.batch()
    states = golden.lm(golden.lm.embed_rows(batch.rows), batch.rows.packing)
    scores = torch.split(golden.lm.logits(states), golden.lm.config.channels, dim=-1)
    for name, found in zip(("token", "duration", "f0"), scores, strict=True):
        wanted = golden.packed(f"logits_{name}{'_ignore_prosody' if ignore else ''}")
        torch.testing.assert_close(found, wanted, rtol=0, atol=5e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_the_references(kind: Kind) -> None:
    golden = Golden(kind)
    plain = NextUnitAndProsody(golden.lm)(golden.batch())
    gold = golden.arrays
    weighted = float((plain * torch.tensor([1, 0.5, 0.5])).sum())
    torch.testing.assert_close(weighted, float(gold["loss"]), rtol=1e-5, atol=0)
    for found, name in zip(plain, ("token_loss", "dur_loss", "f0_loss"), strict=True):
        torch.testing.assert_close(float(found), float(gold[name]), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("streams", "edges", "parameters"), [("discrete", EDGES, 151_494_656), ("continuous", (), 151_375_872)]
)
def test_has_the_published_number_of_parameters(streams: Kind, edges: tuple[float, ...], parameters: int) -> None:
    config = PGSLMConfig(**PUBLISHED, streams=streams, f0_edges=edges)
    assert parameter_count(config) == parameters
    assert config.outputs == (165 if streams == "discrete" else 106)


@pytest.mark.parametrize(
    "wrong",
    [
        {"streams": "discrete"},
        {"streams": "continuous", "f0_edges": EDGES},
        {"streams": "discrete", "f0_edges": (0.0, 0.0)},
        {"vocabulary": 100},
    ],
)
def test_settings_that_do_not_fit_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PGSLMConfig.model_validate(PUBLISHED | wrong)


def _small(streams: Kind) -> PGSLM:
    edges = EDGES if streams == "discrete" else ()
    config = PGSLMConfig(layers=2, dim=16, heads=2, ffn_dim=24, streams=streams, f0_edges=edges)
    lm = build_lm(config)
    assert isinstance(lm, PGSLM)
    lm.initialise(0)
    return lm


@pytest.mark.parametrize("streams", KINDS)
def test_a_unit_is_predicted_without_its_own_prosody(streams: Kind) -> None:
    lm = _small(streams)
    units = np.array([3, 1, 4], dtype=np.int16)

    def scores(durations: list[int], f0: list[float]) -> NDArray[np.float32]:
        prosody = [UnitProsody(np.array(durations, np.int32), np.array(f0, np.float32))]
        batch = NextUnitAndProsody(lm).batch(UnitSequences.of([units], prosody), np.array([0]), UNITS)
        states = lm(lm.embed_rows(batch.rows), batch.rows.packing)
        found: NDArray[np.float32] = lm.logits(states).detach().numpy()
        return found

    plain, changed = scores([2, 3, 4], [0.1, 0.2, 0.3]), scores([2, 9, 4], [0.1, 0.9, 0.3])
    # The second unit's prosody is heard from the third unit's position on, which is number 3 after the begin.
    np.testing.assert_array_equal(plain[:3], changed[:3])
    assert np.abs(plain[3:] - changed[3:]).max(axis=1).min() > 1e-4


def test_initialisation_is_a_function_of_the_seed() -> None:
    first, same = _small("discrete").state_dict(), _small("discrete").state_dict()
    assert all(torch.equal(tensor, same[name]) for name, tensor in first.items())
    assert not first["duration_embed.weight"][0].any()
    assert not first["f0_embed.weight"][33].any()
    assert first["head.weight"].std() == pytest.approx(16**-0.5, rel=0.1)
