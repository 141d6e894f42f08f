"""Hypothesis: HuBERT units cost a CPU far less than the straightforward way of computing them, and once computed nothing.

Arms, in turn over the same clips: the `hubert` tokenizer, built up to layer 6 (51.8 M parameters), and torchaudio's
HuBERT base as it comes (94.4 M), one clip at a time through all 12 layers of which the 6th is kept. Headline: ratio of
audio-seconds per second (want: at least 1.8), with equal units. Then all clips are tokenized on Ray twice: the second
time must compute none. Weights are random and the audio is synthesized, which changes neither.

    python -m benchmarks.tokenizing [--clips N] [--rounds N] [--threads N]
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
import soundfile
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from orchestrator.tokenizing import TokenizingReport, tokenize
from task_specs.audio_policy import AudioPolicy
from task_specs.example import Clip
from workers.backbone.fingerprint import fingerprint
from workers.speech.hubert import HubertTokenizer
from workers.speech.hubert_config import HubertConfig
from workers.speech.hubert_encoder import HubertEncoder
from workers.speech.hubert_weights import from_torchaudio
from workers.speech.torchaudio_import import hubert_base

SAMPLE_RATE = 16_000
LAYER, HEADS, UNITS = 6, 12, 100

Wave = NDArray[np.float32]
FrameUnits = NDArray[np.int64]


def recordings(clips: int) -> list[Wave]:
    """Clips of 1 to 5 seconds: gliding harmonics in noise, exact in 16 bits."""
    rng = np.random.default_rng(0)
    waves = []
    for seconds in rng.uniform(1, 5, clips):
        time_axis = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
        pitch = 140 + 50 * np.sin(2 * np.pi * rng.uniform(0.5, 3) * time_axis + rng.uniform(0, 6))
        phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
        wave = 0.05 * rng.standard_normal(len(time_axis))
        for harmonic in range(1, 20):
            loudness = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(1, 6) * time_axis + rng.uniform(0, 6))
            wave += loudness / harmonic * np.sin(harmonic * phase)
        waves.append((np.round(0.1 * wave * 2**15) / 2**15).astype(np.float32))
    return waves


def build(waves: Sequence[Wave]) -> tuple[Any, HubertTokenizer]:
    """Torchaudio's model with random weights, and the tokenizer of the same weights."""
    torch.manual_seed(0)
    model = hubert_base().eval()
    sizes, tensors = from_torchaudio(model.state_dict(), layer=LAYER, heads=HEADS)
    config = HubertConfig(**sizes, units=UNITS)
    features = np.concatenate([HubertEncoder(config, tensors).features([wave])[0].numpy() for wave in waves[:8]])
    centroids = features[np.random.default_rng(0).choice(len(features), UNITS, replace=False)]
    return model, HubertTokenizer(config, tensors | {"centroids": centroids})


def straightforward(model: Any, centroids: torch.Tensor, waves: Sequence[Wave]) -> list[FrameUnits]:
    """One clip after the other through the whole model."""
    units = []
    with torch.no_grad():
        for wave in waves:
            layers, _ = model.extract_features(torch.from_numpy(wave)[None])
            units.append(torch.cdist(layers[LAYER - 1][0], centroids).argmin(1).numpy())
    return units


def timed(run: Callable[[Sequence[Wave]], list[FrameUnits]], waves: Sequence[Wave]) -> tuple[float, list[FrameUnits]]:
    """Seconds taken, and the units."""
    started = time.perf_counter()
    units = run(waves)
    return time.perf_counter() - started, units


def on_ray(paths: Sequence[str], tokenizer: HubertTokenizer, cache: str) -> tuple[float, TokenizingReport]:
    """Seconds taken and what was computed."""
    started = time.perf_counter()
    report = tokenize(
        [(Clip(path), AudioPolicy()) for path in paths],
        tokenizer=tokenizer,
        fingerprint=fingerprint(tokenizer.config(), tokenizer.tensors()),
        cache_root=cache,
    )
    return time.perf_counter() - started, report


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    waves = recordings(options.clips)
    seconds = sum(map(len, waves)) / SAMPLE_RATE
    model, tokenizer = build(waves)
    centroids = torch.from_numpy(tokenizer.tensors()["centroids"])

    # Everything is used once before anything is measured.
    straightforward(model, centroids, waves[:1])
    tokenizer.encode(waves[:1])
    straight, ours = [], []
    for _ in range(options.rounds):
        elapsed, expected = timed(lambda clips: straightforward(model, centroids, clips), waves)
        straight.append(elapsed)
        elapsed, found = timed(tokenizer.encode, waves)
        ours.append(elapsed)
    differing = sum(int((a != b).sum()) for a, b in zip(expected, found, strict=True))

    console = Console(width=120)
    console.print(
        f"{options.clips} clips, {seconds:.0f} s of audio, {options.threads} threads, {options.rounds} rounds"
    )
    table = Table("way", "seconds, each round", "audio-seconds per second")
    for name, elapsed_each in (("12 layers, one clip at a time", straight), ("hubert tokenizer", ours)):
        rate = seconds / statistics.median(elapsed_each)
        table.add_row(name, " ".join(f"{elapsed:.2f}" for elapsed in elapsed_each), f"{rate:.1f}")
    console.print(table)
    ratios = [a / b for a, b in zip(straight, ours, strict=True)]
    frames = sum(map(len, found))
    console.print(
        f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}); {differing} of {frames} frames, "
        f"of {len(np.unique(np.concatenate(found)))} different units, differ"
    )
    assert differing == 0

    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder, f"{index}.wav")) for index in range(len(waves))]
        for path, wave in zip(paths, waves, strict=True):
            soundfile.write(path, wave, SAMPLE_RATE, subtype="PCM_16")
        for name in ("first", "second"):
            elapsed, report = on_ray(paths, tokenizer, str(Path(folder, "units")))
            console.print(
                f"{name} run on Ray: {report.computed} clips computed, {report.cached} cached, {elapsed:.1f} s"
            )
            for (clip, _), units in report.units.items():
                np.testing.assert_array_equal(units.frames(), found[paths.index(clip.uri)])
    ray.shutdown()
    assert (report.computed, report.cached) == (0, len(waves))


if __name__ == "__main__":
    main()
