from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import ray
import torch

from infra.errors import AudioError, BackboneError, InvalidInputs, StorageError
from orchestrator.cluster.ray_data import WorkerBug, checked_rows, write_rows
from orchestrator.recordings import encoding, hashing
from orchestrator.recordings.encoding import _Tokenize
from orchestrator.recordings.tokenizing import ClipRequest, TokenizingReport, tokenize
from task_specs.audio_policy import AudioPolicy
from task_specs.example import Clip
from tests.fixtures.deadly import DEADLY_HEADER, DEADLY_SOUND, DeadlyTokenize, deadly_hash_batch, raising_hash_batch
from tests.fixtures.hubert import noise, toy_tokenizer
from tests.fixtures.mfcc import fit_mfcc_tokenizer
from tests.fixtures.shared_data import shared_rows
from tests.fixtures.tones import babble, write_audio
from workers.speech.audio import decode
from workers.speech.f0 import F0Settings
from workers.speech.mfcc import MfccTokenizer
from workers.speech.tokenizer import build_tokenizer
from workers.speech.units import deduplicate

pytestmark = pytest.mark.usefixtures("ray_cluster")

_POLICY = AudioPolicy()
_AT_MOST_TWO_SECONDS = AudioPolicy(max_seconds=2.0, too_long="quarantine")
_FINGERPRINT = "f" * 64


@cache
def _tokenizer() -> MfccTokenizer:
    return fit_mfcc_tokenizer([babble(seed, 1.0) for seed in range(4)], units=20, seed=0)


def _tokenize(
    clips: list[Clip], root: Path, *, policy: AudioPolicy = _POLICY, workers: int | None = 1
) -> TokenizingReport:
    return tokenize(
        [(clip, policy) for clip in clips],
        tokenizer=_tokenizer(),
        fingerprint=_FINGERPRINT,
        cache_root=str(root / "units"),
        workers=workers,
    )


@dataclass(frozen=True)
class Mixture:
    """Recordings of every kind, and what became of them in a first and a second run: starting workers takes seconds.

    Attributes:
        root: directory of audio and cache.
        readable: clips in four formats, one of them a part of another's file.
        copies: clips with the bytes of one of ``readable``.
        kinds: unusable clips and the kind of reason; their policy is ``_AT_MOST_TWO_SECONDS``.
        frames: number of frames of requests under different policies; 0 for those that are quarantined.
        first, second: reports of the two runs.
        progress: what the first run said on its way.
    """

    root: Path
    readable: list[Clip]
    copies: dict[Clip, Clip]
    kinds: dict[Clip, str]
    frames: dict[ClipRequest, int]
    first: TokenizingReport
    second: TokenizingReport
    progress: list[tuple[int, int]]


def _readable(directory: Path) -> list[Clip]:
    suffixes = ("wav", "flac", "ogg", "mp3")
    clips = [
        Clip(write_audio(directory / f"žodis {seed}.{suffixes[seed % 4]}", babble(seed, 0.3 + 0.1 * seed)))
        for seed in range(10)
    ]
    return [*clips, Clip(clips[9].uri, start=0.2, end=0.7)]


def _unusable(directory: Path) -> dict[Clip, str]:
    good = write_audio(directory / "good.wav", babble(20, 0.5))
    (directory / "text.wav").write_text("no audio")
    (directory / "nobytes.wav").write_bytes(b"")
    return {
        Clip(write_audio(directory / "short.wav", babble(21, 0.05))): "too short",
        Clip(write_audio(directory / "long.wav", babble(22, 2.5))): "too long",
        Clip(write_audio(directory / "none.wav", np.zeros(0, np.float32))): "empty",
        Clip(str(directory / "text.wav")): "unreadable",
        Clip(str(directory / "nobytes.wav")): "empty",
        Clip(str(directory / "absent.wav")): "missing",
        Clip(good, start=0.4, end=3.0): "too short",
    }


def _under_policies(directory: Path) -> dict[ClipRequest, int]:
    whole = Clip(write_audio(directory / "whole.wav", babble(30, 1.0)))
    short = Clip(write_audio(directory / "brief.wav", babble(31, 0.05)))
    shorter_than_a_frame = Clip(write_audio(directory / "frame.wav", babble(32, 0.02)))
    return {
        ClipRequest(whole, AudioPolicy(max_seconds=0.5)): 24,
        ClipRequest(whole, AudioPolicy()): 49,
        ClipRequest(whole, AudioPolicy(max_seconds=0.4, too_long="window")): 3 * 19,
        ClipRequest(whole, AudioPolicy(max_seconds=1.0, too_long="error")): 49,
        ClipRequest(short, AudioPolicy(min_seconds=0.5, too_short="pad")): 24,
        ClipRequest(short, AudioPolicy(min_seconds=0.0)): 2,
        ClipRequest(short, AudioPolicy()): 0,
        ClipRequest(shorter_than_a_frame, AudioPolicy(min_seconds=0.0)): 0,
    }


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Mixture:
    root = tmp_path_factory.mktemp("mixture")
    readable, kinds, frames = _readable(root), _unusable(root), _under_policies(root)
    copies = {
        Clip(shutil.copy(clip.uri, str(root / f"copy{number}.wav"))): clip for number, clip in enumerate(readable[:5:4])
    }
    requests = [(clip, _POLICY) for clip in (*readable, *copies, readable[1])]
    requests += [(clip, _AT_MOST_TWO_SECONDS) for clip in (Clip(str(root / "good.wav")), *kinds)]
    requests += frames
    seen: list[tuple[int, int]] = []
    first, second = [
        tokenize(
            requests,
            tokenizer=_tokenizer(),
            fingerprint=_FINGERPRINT,
            cache_root=str(root / "units"),
            progress=progress,
        )
        for progress in (lambda done, total: seen.append((done, total)), None)
    ]
    return Mixture(root, readable, copies, kinds, frames, first, second, seen)


def test_units_are_those_of_the_tokenizer(mixture: Mixture) -> None:
    for clip in mixture.readable:
        data = Path(clip.uri).read_bytes()
        wave = decode(data, name="a", sample_rate=16_000, start=clip.start, end=clip.end)
        expected = deduplicate(_tokenizer().encode([wave])[0])
        assert mixture.first.units[ClipRequest(clip, _POLICY)] == expected


def test_identical_bytes_are_computed_once(mixture: Mixture) -> None:
    distinct = len(mixture.readable) + len(mixture.kinds) + len(mixture.frames)  # and a good clip, less the absent one
    assert (mixture.first.computed, mixture.first.cached) == (distinct, 0)
    for copy, original in mixture.copies.items():
        units = mixture.first.units
        assert units[ClipRequest(copy, _POLICY)] == units[ClipRequest(original, _POLICY)]


def test_a_second_run_computes_nothing(mixture: Mixture) -> None:
    assert (mixture.second.computed, mixture.second.cached) == (0, mixture.first.computed)
    assert mixture.second.audio_seconds == 0.0
    assert mixture.second.units == mixture.first.units
    assert mixture.second.quarantined == mixture.first.quarantined


def test_progress_counts_files_and_distinct_clips_up_to_the_end(mixture: Mixture) -> None:
    files = {request.clip.uri for report in (mixture.first.units, mixture.first.quarantined) for request in report}
    steps = len(files) + mixture.first.computed
    done = [done for done, _ in mixture.progress]
    assert done == sorted(done)
    assert mixture.progress[-1] == (steps, steps)
    readable = sum(0.3 + 0.1 * seed for seed in range(10)) + 0.5
    others = 0.5 + (0.5 + 1.0 + 1.0 + 1.0 + 0.5 + 0.05)  # the good clip, and those under different policies
    assert mixture.first.audio_seconds == pytest.approx(readable + others, abs=0.1)


def test_what_cannot_be_used_is_quarantined_with_a_reason(mixture: Mixture) -> None:
    reasons = mixture.first.quarantined
    found = {request.clip: reason.kind for request, reason in reasons.items() if request.policy == _AT_MOST_TWO_SECONDS}
    assert found == mixture.kinds
    assert ClipRequest(Clip(str(mixture.root / "good.wav")), _AT_MOST_TWO_SECONDS) in mixture.first.units
    counts = mixture.first.reasons()
    assert counts == {"too short": 4, "empty": 2, "too long": 1, "unreadable": 1, "missing": 1}
    assert list(counts.values()) == [4, 2, 1, 1, 1]
    missing = reasons[ClipRequest(Clip(str(mixture.root / "absent.wav")), _AT_MOST_TWO_SECONDS)]
    assert "shared disk" in missing.detail


def test_each_task_has_its_own_policy(mixture: Mixture) -> None:
    units: Mapping[ClipRequest, object] = mixture.first.units
    for request, frames in mixture.frames.items():
        assert (request in units) == (frames > 0)
        if frames:
            assert len(mixture.first.units[request].frames()) == frames
        else:
            assert mixture.first.quarantined[request].kind == "too short"


def test_what_is_longer_than_allowed_and_used_is_counted(mixture: Mixture) -> None:
    long = {(Path(request.clip.uri).name, request.policy.too_long) for request in mixture.first.long}
    assert long == {("whole.wav", "crop"), ("whole.wav", "window")}
    assert mixture.second.long == mixture.first.long, "from the cache too"
    [cut] = [request for request in mixture.frames if request.policy.too_long == "window"]
    assert len(mixture.first.units[cut].spans) == 3


def test_recordings_that_are_too_long_may_be_an_error(mixture: Mixture) -> None:
    clips = [Clip(str(mixture.root / name)) for name in ("good.wav", "long.wav")]
    policy = AudioPolicy(max_seconds=2.0, too_long="error")
    report = _tokenize(clips, mixture.root, policy=policy)
    report.check([ClipRequest(clips[0], policy)])
    with pytest.raises(InvalidInputs) as caught:
        report.check([ClipRequest(clip, policy) for clip in clips])
    [problem] = caught.value.problems
    assert Path(problem.file).name == "long.wav"
    assert "too long: 2.500 s, and audio.max_seconds is 2" in str(problem)
    assert "window" in str(problem)


def test_a_strict_policy_names_every_bad_file(mixture: Mixture) -> None:
    clips = [Clip(str(mixture.root / name)) for name in ("good.wav", "text.wav", "absent.wav")]
    policy = _AT_MOST_TWO_SECONDS.model_copy(update={"unreadable": "error"})
    report = _tokenize(clips, mixture.root, policy=policy)
    with pytest.raises(InvalidInputs) as caught:
        report.check([ClipRequest(clip, policy) for clip in clips])
    assert [Path(problem.file).name for problem in caught.value.problems] == ["text.wav", "absent.wav"]


def test_units_with_pitch_are_computed_once_and_kept_apart(mixture: Mixture) -> None:
    requests = [ClipRequest(clip, _POLICY) for clip in mixture.readable[:3]]

    def run(f0: F0Settings | None) -> TokenizingReport:
        return tokenize(
            requests,
            tokenizer=_tokenizer(),
            fingerprint=_FINGERPRINT,
            cache_root=str(mixture.root / "units"),
            f0=f0,
        )

    first, second, plain = run(F0Settings()), run(F0Settings()), run(None)
    assert (first.computed, first.cached) == (3, 0)
    assert (second.computed, second.cached) == (0, 3)
    assert (plain.computed, plain.cached) == (0, 3)
    assert second.units == first.units
    for request in requests:
        units = first.units[request]
        assert units.pitch is not None
        assert units.pitch.f0_hz.shape == units.units.shape
        assert units.pitch.statistics.count > 0
        assert plain.units[request] == replace(units, pitch=None)


def test_a_hop_that_does_not_divide_the_frame_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="no whole number of hops"):
        tokenize(
            [(Clip("/absent.wav"), _POLICY)],
            tokenizer=_tokenizer(),
            fingerprint=_FINGERPRINT,
            cache_root=str(tmp_path),
            f0=F0Settings(hop_seconds=0.007),
        )


def test_nothing_found_at_all_is_an_error(tmp_path: Path) -> None:
    report = _tokenize([Clip(str(tmp_path / "a.wav")), Clip(str(tmp_path / "b.wav"))], tmp_path)
    with pytest.raises(AudioError, match=r"none of 2 recordings.*root"):
        report.check(report.quarantined)


def test_a_recording_that_kills_its_workers_is_left_out_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hashing, "_hash_batch", deadly_hash_batch)
    monkeypatch.setattr(encoding, "_Tokenize", DeadlyTokenize)
    # Each death costs the seconds in which another worker begins.
    monkeypatch.setattr(hashing, "DEATHS_OUTLIVED", 0)
    monkeypatch.setattr(encoding, "DEATHS_OUTLIVED", 0)
    names = ["a.wav", DEADLY_HEADER, "b.wav", DEADLY_SOUND]
    clips = [Clip(write_audio(tmp_path / name, babble(seed, 0.5))) for seed, name in enumerate(names)]
    report = _tokenize(clips, tmp_path)
    assert {Path(request.clip.uri).name for request in report.units} == {"a.wav", "b.wav"}
    reasons = {Path(request.clip.uri).name: reason.kind for request, reason in report.quarantined.items()}
    assert reasons == {DEADLY_HEADER: "fatal", DEADLY_SOUND: "fatal"}
    assert caplog.text == ""


def test_what_a_worker_raises_is_no_death(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_hash_batch", raising_hash_batch)
    with pytest.raises(WorkerBug, match="ZeroDivisionError"):
        _tokenize([Clip(write_audio(tmp_path / "a.wav", babble(0, 0.5)))], tmp_path)


def test_a_cache_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    clip = Clip(write_audio(tmp_path / "a.wav", babble(0, 0.5)))
    (tmp_path / "units").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="units"):
        _tokenize([clip], tmp_path)


def test_an_external_tokenizer_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    external = build_tokenizer({"kind": "external", "name": "hubert", "units": 100}, {})
    with pytest.raises(BackboneError, match="external"):
        tokenize(
            [(Clip("/absent.wav"), _POLICY)],
            tokenizer=external,
            fingerprint=_FINGERPRINT,
            cache_root=str(tmp_path),
        )


def test_no_clips_are_no_work(tmp_path: Path) -> None:
    assert _tokenize([], tmp_path) == TokenizingReport()


_RUN_TO_BE_KILLED = """
import sys, ray
from pathlib import Path
from tests.orchestrator.recordings.test_tokenizing import _parts, _tokenize
ray.init(address=sys.argv[1], log_to_driver=False)
_tokenize(_parts(Path(sys.argv[2])), Path(sys.argv[2]), workers=1)
"""


def _parts(directory: Path) -> list[Clip]:
    files = [str(directory / f"{seed}.wav") for seed in range(4)]
    return [Clip(uri, start=part * 0.05, end=part * 0.05 + 1.5) for uri in files for part in range(150)]


def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    import ray

    for seed in range(4):
        write_audio(tmp_path / f"{seed}.wav", babble(seed, 9.0))
    shards = tmp_path / "units" / _FINGERPRINT
    address = ray.get_runtime_context().gcs_address
    process = subprocess.Popen([sys.executable, "-c", _RUN_TO_BE_KILLED, address, str(tmp_path)])
    try:
        deadline = time.monotonic() + 120
        while not list(shards.glob("*.parquet")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL

    report = _tokenize(_parts(tmp_path), tmp_path)
    assert 0 < report.cached < 600
    assert report.computed + report.cached == len(report.units) == 600


def test_real_recordings_hold_many_copies(tmp_path: Path) -> None:
    rows = shared_rows("arabic_speech_commands")[:300]
    report = _tokenize([Clip(row["path"]) for row in rows], tmp_path)
    distinct = len({Path(row["path"]).read_bytes() for row in rows})
    assert distinct < len(rows)
    assert (report.computed, len(report.units), report.quarantined) == (distinct, len(rows), {})


def test_hubert_units_on_ray_are_those_of_this_process(tmp_path: Path) -> None:
    tokenizer = toy_tokenizer()
    waves = [(np.round(noise(samples, seed=samples) * 2**15) / 2**15).astype(np.float32) for samples in (6000, 4000)]
    clips = [Clip(write_audio(tmp_path / f"{len(wave)}.wav", wave)) for wave in waves]
    report = tokenize(
        [(clip, AudioPolicy()) for clip in clips],
        tokenizer=tokenizer,
        fingerprint=_FINGERPRINT,
        cache_root=str(tmp_path / "units"),
    )
    assert report.computed == 2
    for clip, units in zip(clips, tokenizer.encode(waves), strict=True):
        assert report.units[ClipRequest(clip, AudioPolicy())] == deduplicate(units)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_torch_does_not_see_is_one_sentence(tmp_path: Path) -> None:
    uri = write_audio(tmp_path / "clip.wav", noise(4000))
    tokenizer = toy_tokenizer()
    stage = _Tokenize(
        config=tokenizer.config(),
        tensors=ray.put(tokenizer.tensors()),
        cache=(str(tmp_path / "units"), _FINGERPRINT),
        f0=None,
        threads=torch.get_num_threads(),
        device="cuda",
    )
    row = {
        "key": "k",
        "audio_sha256": hashlib.sha256(Path(uri).read_bytes()).hexdigest(),
        "clip": asdict(Clip(uri)),
        "policy": AudioPolicy().model_dump(mode="json"),
    }
    with pytest.raises(StorageError, match=r"cuda.*sees no GPU.*give its workers no GPU"):
        checked_rows(stage(write_rows([row])))
