from __future__ import annotations

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from task_specs.audio_policy import AudioPolicy
from workers.speech.f0 import F0Settings
from workers.speech.prosody import Pitch, PitchStatistics
from workers.speech.unit_cache import Cached, Quarantined, UnitCache, content_key
from workers.speech.units import deduplicate

_FINGERPRINT = "f" * 64
_UNITS = st.lists(st.integers(0, 32_767), min_size=1, max_size=8).map(lambda frames: deduplicate(np.array(frames)))
_PITCHED = st.builds(
    lambda units, hertz, statistics: replace(
        units, pitch=Pitch(np.full(len(units), hertz, np.float32), PitchStatistics(*statistics))
    ),
    _UNITS,
    st.floats(0, 400, width=32),
    st.tuples(st.integers(0, 10_000), st.floats(0, 1e6), st.floats(0, 1e6)),
)
_REASONS = st.builds(Quarantined, st.sampled_from(["empty", "too long"]), st.text(max_size=20))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    entries=st.dictionaries(
        st.text("0123456789abcdef", min_size=4, max_size=6), _UNITS | _PITCHED | _REASONS, min_size=1
    )
)
def test_what_is_added_is_found(tmp_path_factory: pytest.TempPathFactory, entries: dict[str, Cached]) -> None:
    cache = UnitCache(str(tmp_path_factory.mktemp("cache")), _FINGERPRINT)
    shard = cache.add(entries)
    assert cache.lookup(entries) == entries
    some = sorted(entries)[::2]
    assert cache.lookup([*some, "unknown"], shards=[shard]) == {key: entries[key] for key in some}


def test_types_survive(tmp_path: Path) -> None:
    cache = UnitCache(str(tmp_path), _FINGERPRINT)
    cache.add({"a": deduplicate(np.array([1, 1, 7]))})
    found = cache.lookup(["a"])["a"]
    assert not isinstance(found, Quarantined)
    assert (found.units.dtype, found.durations.dtype) == (np.dtype(np.int16), np.dtype(np.int32))
    assert found.pitch is None

    pitch = Pitch(np.array([123.4, 0], np.float32), PitchStatistics(3, 14.4, 69.5))
    cache.add({"b": replace(deduplicate(np.array([1, 1, 7])), pitch=pitch)})
    found = cache.lookup(["b"])["b"]
    assert not isinstance(found, Quarantined)
    assert found.pitch == pitch
    assert found.pitch.f0_hz.dtype == np.float32


def test_shards_without_columns_of_pitch_are_read(tmp_path: Path) -> None:
    cache = UnitCache(str(tmp_path), _FINGERPRINT)
    entries: dict[str, Cached] = {"a": deduplicate(np.array([1, 2])), "b": Quarantined("empty", "no samples")}
    path = Path(cache.directory) / cache.add(entries)
    buffer = io.BytesIO()
    pq.write_table(pq.read_table(path).select(["key", "units", "durations", "kind", "detail"]), buffer)
    path.unlink()
    older = path.with_name(f"{hashlib.sha256(buffer.getvalue()).hexdigest()[:32]}.parquet")
    older.write_bytes(buffer.getvalue())
    assert cache.lookup(entries) == entries
    assert not cache.damaged


def test_an_absent_cache_is_empty(tmp_path: Path) -> None:
    assert UnitCache(str(tmp_path / "nothing" / "here"), _FINGERPRINT).lookup(["a"]) == {}


def test_tokenizers_do_not_see_each_others_units(tmp_path: Path) -> None:
    UnitCache(str(tmp_path), "a" * 64).add({"k": deduplicate(np.array([1]))})
    assert UnitCache(str(tmp_path), "b" * 64).lookup(["k"]) == {}


def test_units_with_and_without_pitch_do_not_mix(tmp_path: Path) -> None:
    settings = (None, F0Settings(), F0Settings(hop_seconds=0.01))
    caches = [UnitCache(str(tmp_path), _FINGERPRINT, f0) for f0 in settings]
    for number, cache in enumerate(caches):
        cache.add({f"k{number}": deduplicate(np.array([number]))})
    keys = [f"k{number}" for number in range(3)]
    assert [set(cache.lookup(keys)) for cache in caches] == [{"k0"}, {"k1"}, {"k2"}]
    assert set(UnitCache(str(tmp_path), _FINGERPRINT, F0Settings()).lookup(keys)) == {"k1"}


def test_writers_and_readers_at_once(tmp_path: Path) -> None:
    cache = UnitCache(str(tmp_path), _FINGERPRINT)
    entries = [{f"{shard}-{row}": deduplicate(np.array([shard, row])) for row in range(5)} for shard in range(20)]
    keys = [key for shard in entries for key in shard]
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda shard: (cache.add(shard), cache.lookup(keys)), entries):
            pass
    assert set(cache.lookup(keys)) == set(keys)


def test_the_same_entries_are_one_shard(tmp_path: Path) -> None:
    cache = UnitCache(str(tmp_path), _FINGERPRINT)
    entries: dict[str, Cached] = {"a": deduplicate(np.array([1, 2])), "b": Quarantined("empty", "no samples")}
    assert cache.add(entries) == cache.add(dict(reversed(entries.items())))
    assert len(list(Path(cache.directory).iterdir())) == 1


def test_no_single_bit_of_a_shard_can_change_unnoticed(tmp_path: Path) -> None:
    cache = UnitCache(str(tmp_path), _FINGERPRINT)
    rng = np.random.default_rng(0)
    entries: dict[str, Cached] = {f"{row}": deduplicate(rng.integers(0, 100, 300)) for row in range(20)}
    path = Path(cache.directory) / cache.add(entries)
    whole = path.read_bytes()
    for place, bit in zip(rng.choice(len(whole), 400, replace=False), rng.integers(8, size=400), strict=True):
        changed = bytearray(whole)
        changed[place] ^= 1 << int(bit)
        path.write_bytes(changed)
        cache.damaged.clear()
        assert cache.lookup(entries) == {}
        assert cache.damaged.keys() == {path.name}
    path.write_bytes(whole)
    assert cache.lookup(entries) == entries


def test_a_damaged_shard_is_as_good_as_absent_and_does_not_stay_in_the_way(tmp_path: Path) -> None:
    cache = UnitCache(str(tmp_path), _FINGERPRINT)
    entries: dict[str, Cached] = {"a": deduplicate(np.array([1, 2]))}
    path = Path(cache.directory) / cache.add(entries)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert cache.lookup(["a"]) == {}
    assert cache.damaged[path.name] == f"{path} is not what its name says; its clips are tokenized again"
    cache.add(entries)
    assert path.read_bytes() == whole
    path.write_bytes(whole + b"x")
    cache.add({"b": Quarantined("empty", "no samples")})
    fresh = UnitCache(str(tmp_path), _FINGERPRINT)
    assert set(fresh.lookup(["a", "b"])) == {"b"}
    assert len(fresh.remove_damaged()) == 1
    assert not path.exists()


def test_keys_differ_where_units_may() -> None:
    policy = AudioPolicy()
    keys = [
        content_key("a", start=None, end=None, policy=policy),
        content_key("b", start=None, end=None, policy=policy),
        content_key("a", start=0.0, end=None, policy=policy),
        content_key("a", start=None, end=1.0, policy=policy),
        content_key("a", start=1.0, end=None, policy=policy),
        content_key("a", start=None, end=None, policy=AudioPolicy(max_seconds=5)),
        content_key("a", start=None, end=None, policy=AudioPolicy(min_seconds=0.2)),
        content_key("a", start=None, end=None, policy=AudioPolicy(too_short="pad")),
        content_key("a", start=None, end=None, policy=AudioPolicy(too_long="quarantine")),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == content_key("a", start=None, end=None, policy=AudioPolicy(unreadable="error"))
