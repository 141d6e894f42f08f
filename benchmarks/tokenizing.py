"""Hypothesis: HuBERT units cost a CPU far less than the straightforward way of computing them, and nothing once cached.

Arms, in turn on every clip: the `hubert` tokenizer, built up to layer 6 (51.8 M parameters), and torchaudio's HuBERT
base as it comes (94.4 M), through all 12 layers of which the 6th is kept. Headline: ratio of audio-seconds per second
(want: at least 1.8), with equal units; each clip counts with its fastest round, so that other work on the machine
counts little. Then all clips are tokenized on Ray twice: the second time must compute none. Weights are random and the
audio is synthesized, which changes neither.

    python -m benchmarks.tokenizing [--clips N] [--rounds N] [--threads N]
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from infra.digest import fingerprint
from orchestrator.cluster.local_ray import local_ray
from orchestrator.recordings.tokenizing import TokenizingReport, tokenize
from task_specs.audio_policy import AudioPolicy
from task_specs.example import Clip
from workers.interop.hubert_weights import from_torchaudio
from workers.speech.hubert.config import HubertConfig
from workers.speech.hubert.encoder import HubertEncoder
from workers.speech.hubert.tokenizer import HubertTokenizer
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


def straightforward(model: Any, centroids: torch.Tensor, wave: Wave) -> FrameUnits:
    """Units of a clip by way of the whole model."""
    with torch.no_grad():
        layers, _ = model.extract_features(torch.from_numpy(wave)[None])
        units: FrameUnits = torch.cdist(layers[LAYER - 1][0], centroids).argmin(1).numpy()
    return units


def timed(run: Callable[[Wave], FrameUnits], wave: Wave) -> tuple[float, FrameUnits]:
    """Seconds taken, and the units."""
    started = time.perf_counter()
    units = run(wave)
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
    parser.add_argument("--clips", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    waves = recordings(options.clips)
    seconds = sum(map(len, waves)) / SAMPLE_RATE
    model, tokenizer = build(waves)
    centroids = torch.from_numpy(tokenizer.tensors()["centroids"])

    ways: dict[str, Callable[[Wave], FrameUnits]] = {
        "all 12 layers": lambda wave: straightforward(model, centroids, wave),
        "hubert tokenizer": lambda wave: tokenizer.encode([wave])[0],
    }
    # Everything is used once before anything is measured.
    for run in ways.values():
        run(waves[0])
    fastest = {way: [float("inf")] * len(waves) for way in ways}
    units: dict[str, list[FrameUnits]] = {way: [np.empty(0, np.int64)] * len(waves) for way in ways}
    for _ in range(options.rounds):
        for index, wave in enumerate(waves):
            for way, run in ways.items():
                elapsed, units[way][index] = timed(run, wave)
                fastest[way][index] = min(fastest[way][index], elapsed)
    expected, found = (np.concatenate(clips) for clips in units.values())

    console = Console(width=120)
    console.print(
        f"{options.clips} clips, {seconds:.0f} s of audio, {options.threads} threads, {options.rounds} rounds"
    )
    table = Table("way", "seconds", "audio-seconds per second")
    for way, each in fastest.items():
        table.add_row(way, f"{sum(each):.2f}", f"{seconds / sum(each):.1f}")
    console.print(table)
    slow, fast = map(sum, fastest.values())
    console.print(
        f"ratio {slow / fast:.2f}; {(expected != found).sum()} of {len(found)} frames differ, "
        f"of {len(np.unique(found))} different units"
    )
    np.testing.assert_array_equal(found, expected)

    with local_ray(num_cpus=2, logging_level=logging.ERROR), tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder, f"{index}.wav")) for index in range(len(waves))]
        for path, wave in zip(paths, waves, strict=True):
            soundfile.write(path, wave, SAMPLE_RATE, subtype="PCM_16")
        for name in ("first", "second"):
            elapsed, report = on_ray(paths, tokenizer, str(Path(folder, "units")))
            console.print(
                f"{name} run on Ray: {report.computed} clips computed, {report.cached} cached, {elapsed:.1f} s"
            )
            for (clip, _), cached in report.units.items():
                np.testing.assert_array_equal(cached.frames(), units["hubert tokenizer"][paths.index(clip.uri)])
    assert (report.computed, report.cached) == (0, len(waves))


if __name__ == "__main__":
    main()
