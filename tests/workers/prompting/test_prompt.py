from __future__ import annotations

from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from task_specs.recipe import Read, Recipe
from tests.fixtures.tuning import tiny_lm
from workers.prompting.prompt import PromptShape, prompt_shape, rate_scales
from workers.prompting.prompt_init import initial_prompt
from workers.prompting.prompted_pass import KEYS, SEPARATORS, VALUES
from workers.unit_lm.gslm.config import GSLMConfig


def _published(*classes: int, verbalizer: str = "linear", special_rows: int = 0) -> PromptShape:
    """A prompt of length 5 for the published LM."""
    return PromptShape(12, 5, 1024, 104, classes, verbalizer, special_rows)


def test_sizes_on_the_published_model() -> None:
    fixed = _published(12, verbalizer="random").size
    assert fixed == 123_904 == 122_880 + 1_024
    # The reference counts 129,024: its prompt vectors at the input are never read once there are deep ones.
    assert fixed + 5 * 1024 == 129_024
    for classes in (2, 7, 12, 36, 50):
        assert _published(classes).size == fixed + 104 * classes
        assert _published(classes, special_rows=4).size == fixed + 104 * (classes + 4)
    assert _published(6, 14, 4).size == fixed + 2 * 1024 + 104 * 24


@pytest.mark.parametrize("classes", [(2,), (12,), (50,), (6, 14, 4)])
def test_the_default_trains_at_most_150_000_numbers_on_the_published_model(classes: tuple[int, ...]) -> None:
    config = GSLMConfig(layers=12, dim=1024, heads=16, ffn_dim=4096)
    for read in get_args(Read):
        assert prompt_shape(config, Recipe.from_spec({"read": read}), classes).size <= 150_000
    assert prompt_shape(config, Recipe(), [50]).size == 2 * 12 * 3 * 1024 + 2 * 1024 + 12 + 50 * (104 + 1024) == 132_188


@given(
    st.integers(1, 3),
    st.integers(1, 4),
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.sampled_from(["linear", "frequency"]),
    st.integers(0, 4),
    st.integers(0, 3),
)
def test_views_cover_the_flat_vector_once(
    layers: int, length: int, classes: list[int], verbalizer: str, special_rows: int, spare: int
) -> None:
    shape = PromptShape(layers, length, 6, 11, tuple(classes), verbalizer, special_rows)
    flat = torch.arange(float(shape.size + spare))
    views = shape.views(flat)
    assert {name: tuple(view.shape) for name, view in views.items()} == shape.tensors
    assert torch.equal(torch.cat([view.flatten() for view in views.values()]), flat[: shape.size])
    assert views[KEYS].numel() + views[VALUES].numel() == shape.prefix_size
    assert float(views[SEPARATORS].flatten()[0]) == shape.prefix_size
    views[KEYS][0, 0, 0] = -1
    assert flat[0] == -1, "a view, not a copy"


def test_initial_values() -> None:
    lm = tiny_lm()
    shape = PromptShape(40, 5, 16, 24, (2, 3), "linear", 4)

    def initial(seed: int, name: str) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return shape.views(initial_prompt(shape, Recipe.from_spec(name), lm, generator))

    default, paper = initial(0, "default"), initial(0, "paper")
    for tensors in (default, paper):
        for name in (KEYS, VALUES):
            assert float(tensors[name].mean()) == pytest.approx(0, abs=0.1)
            assert float(tensors[name].std()) == pytest.approx(1, abs=0.05)
    assert torch.equal(default[SEPARATORS], lm.embed.weight[[2, 2]])
    assert not torch.equal(paper[SEPARATORS][0], paper[SEPARATORS][1])
    bound = 24**-0.5
    for slot in (0, 1):
        assert not default[f"verbalizer.{slot}"].any()
        assert 0.8 * bound < float(paper[f"verbalizer.{slot}"].abs().max()) <= bound
    again, other = initial(0, "paper"), initial(1, "paper")
    assert all(torch.equal(paper[name], again[name]) for name in paper)
    assert not any(torch.equal(paper[name], other[name]) for name in paper)


def test_rate_scales_by_tensor() -> None:
    shape = PromptShape(2, 3, 4, 5, (2, 3), "linear")
    recipe = Recipe.from_spec({"separator_lr_scale": 0.5, "verbalizer_lr_scale": 3.0})
    for name, scale in shape.views(rate_scales(shape, recipe)).items():
        wanted = {KEYS: 1.0, VALUES: 1.0, SEPARATORS: 0.5}.get(name, 3.0)
        assert bool((scale == wanted).all()), name
