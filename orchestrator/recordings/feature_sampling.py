"""Sampling of feature frames from a large collection of clips, for fitting the mfcc tokenizer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from infra.errors import AudioError
from orchestrator.cluster.ray_data import Row, answer, compute
from orchestrator.recordings.batches import DEATHS_OUTLIVED, KILLS, Meter, Progress, failure_of, room_for
from task_specs.audio_policy import AudioPolicy
from task_specs.example import Clip
from workers.speech.audio import RejectedAudio
from workers.speech.mfcc import FRAMES_TO_FIT, MfccConfig, choose_frames, mfcc_config, mfcc_features
from workers.speech.reading import read_audio
from workers.speech.tokenize_batch import load_clip
from workers.speech.unit_cache import Quarantined

if TYPE_CHECKING:
    import pyarrow

# Many clips with few frames each cover more voices and sounds than few clips with many.
_FRAMES_PER_CLIP_AT_LEAST: Final = 10
_CLIPS_PER_BATCH: Final = 64


@dataclass(frozen=True)
class SampledFeatures:
    """A sample of feature frames.

    Attributes:
        features: float32 [frames, config.dim].
        quarantined: chosen clips that gave no features, and why.
        clips: number of distinct clips used.
    """

    features: NDArray[np.float32]
    quarantined: dict[Clip, Quarantined]
    clips: int


def sample_features(
    clips: Iterable[Clip],
    *,
    config: MfccConfig,
    seed: int,
    frames: int = FRAMES_TO_FIT,
    policy: AudioPolicy | None = None,
    progress: Progress | None = None,
) -> SampledFeatures:
    """Compute features on the running Ray cluster, and return about equally many frames of each clip.

    The same clips in the same order with the same seed give the same features on any cluster.

    Args:
        clips: clips to sample; repeats and byte-identical copies count once.
        config: settings of the features.
        seed: seed of the choice of clips and frames.
        frames: largest number of frames.
        policy: limits on the clips' lengths; ``None``: the default policy.
        progress: function called with the numbers of clips done and of all clips.

    Raises:
        AudioError: none of the clips can be used.
        StorageError: audio cannot be read.
    """
    chosen = list(dict.fromkeys(clips))
    most = max(1, frames // _FRAMES_PER_CLIP_AT_LEAST)
    if len(chosen) > most:
        picks = np.random.default_rng(seed).choice(len(chosen), most, replace=False)
        chosen = [chosen[pick] for pick in np.sort(picks)]
    if not chosen:
        raise AudioError("there are no clips to fit the tokenizer on; name some audio for pretraining")
    rows = [{"index": index, "clip": asdict(clip)} for index, clip in enumerate(chosen)]
    sample = partial(
        _sample_rows,
        config=config.model_dump(),
        policy=(policy or AudioPolicy()).model_dump(mode="json"),
        frames_per_clip=-(-frames // len(chosen)),
        seed=seed,
    )
    blocks = compute(
        rows,
        lambda dataset, _: dataset.map_batches(
            partial(answer, sample), batch_size=None, batch_format="pyarrow", max_retries=DEATHS_OUTLIVED
        ),
        key="index",
        rows_per_block=_CLIPS_PER_BATCH,
        workers=room_for(cpus=1, gpus=0),
        done=Meter(len(chosen), progress).advance,
    )
    quarantined = dict.fromkeys(chosen, KILLS)
    sampled: dict[int, tuple[str, NDArray[np.float32]]] = {}
    for found, block in blocks:
        for row, data in zip(found, block.column("features").to_pylist(), strict=True):
            if failure := failure_of(row):
                quarantined[chosen[row["index"]]] = failure
            else:
                del quarantined[chosen[row["index"]]]
                features = np.frombuffer(data, np.float32).reshape(-1, config.dim)
                sampled[row["index"]] = row["sha256"], features
    # Blocks come in any order; of several copies the first is kept.
    distinct: dict[str, NDArray[np.float32]] = {}
    for _, (digest, features) in sorted(sampled.items()):
        distinct.setdefault(digest, features)
    if not distinct:
        clip, reason = next(iter(quarantined.items()))
        raise AudioError(f"none of {len(chosen)} recordings can be used, such as {clip.uri} ({reason}); correct them")
    everything = choose_frames(np.concatenate(list(distinct.values())), frames, seed=seed)
    return SampledFeatures(everything, quarantined, len(distinct))


def _sample_rows(
    described: Sequence[Row], *, config: dict[str, Any], policy: dict[str, Any], frames_per_clip: int, seed: int
) -> pyarrow.Table:
    import pyarrow

    settings, limits = mfcc_config(config), AudioPolicy(**policy)
    rows: list[str] = []
    features: list[bytes] = []
    for row in described:
        clip = Clip(**row["clip"])
        sampled: Row = {"index": row["index"], "sha256": "", "failure": None}
        data = b""
        try:
            audio = read_audio(clip.uri)
            wave = load_clip(audio, clip, sample_rate=settings.sample_rate, policy=limits)
            identity = f"{hashlib.sha256(audio).hexdigest()} {clip.start} {clip.end}"
            sampled["sha256"] = identity
            # Derived from the content, so that copies of a clip give the same frames.
            own_seed = int(hashlib.sha256(f"{seed} {identity}".encode()).hexdigest()[:16], 16)
            computed = mfcc_features(wave, settings).float().numpy()
            data = choose_frames(computed, frames_per_clip, seed=own_seed).tobytes()
        except RejectedAudio as rejection:
            sampled["failure"] = {"kind": rejection.kind, "detail": rejection.detail}
        rows.append(json.dumps(sampled))
        features.append(data)
    return pyarrow.table({"json": rows, "features": pyarrow.array(features, pyarrow.binary())})
