from __future__ import annotations

import os
import pickle
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra import object_storage as storage
from infra.errors import ObjectNotFound, StorageError
from tests.fixtures.s3_server import S3Server

SECRET = "wrong-0123456789-secret"
NEVER = f"{tempfile.gettempdir()}/sp-never-written"


@pytest.mark.parametrize(
    ("path", "base", "expected"),
    [
        ("a/b.csv", "/data", "/data/a/b.csv"),
        ("../x", "/data/sets", "/data/x"),
        ("/abs//y/../z", "/data", "/abs/z"),
        ("//two", "/", "/two"),
        ("a", "s3://bucket", "s3://bucket/a"),
        ("../m.csv", "s3://bucket/specs/deep/", "s3://bucket/specs/m.csv"),
        ("s3://other/k//j/", "/data", "s3://other/k/j"),
        ("/local", "s3://bucket/p", "/local"),
        (".", "s3://bucket/p", "s3://bucket/p"),
        ("tasks/*.yaml", "/j", "/j/tasks/*.yaml"),
        ("žodžiai/ä b.wav", "/j", "/j/žodžiai/ä b.wav"),
    ],
)
def test_resolve(path: str, base: str, expected: str) -> None:
    assert storage.resolve(path, base) == expected


def test_resolve_expands_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert storage.resolve("~/a", "s3://bucket") == "/home/me/a"


@pytest.mark.parametrize("path", ["", "a\0b", "gs://bucket/x", "http://host/x", "s3:///key", "../../up"])
def test_resolve_refuses(path: str) -> None:
    with pytest.raises(StorageError):
        storage.resolve(path, "s3://bucket/one")


@pytest.mark.parametrize("part", ["", "/etc/passwd", "..", "a/../../b", ".", "x\0"])
def test_join_refuses_what_leaves_the_root(part: str) -> None:
    with pytest.raises(StorageError):
        storage.join("/root/dir", part)


@given(st.lists(st.text(alphabet="ab./ é", max_size=6), min_size=1, max_size=3))
def test_join_stays_below_its_root(parts: list[str]) -> None:
    for root in ("/root/dir", "s3://bucket/dir", "s3://bucket"):
        try:
            joined = storage.join(root, *parts)
        except StorageError:
            continue
        assert joined.startswith(f"{root}/")
        assert storage.resolve(joined, "/") == joined


def test_parent_and_basename() -> None:
    assert (storage.parent("s3://b/x/y"), storage.basename("s3://b/x/y")) == ("s3://b/x", "y")
    assert (storage.parent("s3://b/x"), storage.parent("s3://b")) == ("s3://b", "s3://b")
    assert (storage.parent("/a/b/"), storage.basename("/a/b/"), storage.parent("/")) == ("/a", "b", "/")


def test_write_read_list(store_root: str) -> None:
    names = ["b/ą č.bin", "b/c/d", "a", "b.x"]
    assert storage.list_files(store_root) == []
    for name in names:
        uri = storage.join(store_root, name)
        assert not storage.exists(uri)
        storage.write_bytes(uri, b"old")
        storage.write_bytes(uri, name.encode())
        assert storage.exists(uri)
        assert storage.read_bytes(uri) == name.encode()
    assert storage.list_files(store_root) == sorted(names)
    assert storage.list_files(storage.join(store_root, "b")) == ["c/d", "ą č.bin"]
    assert not storage.exists(storage.join(store_root, "b"))


def test_missing(store_root: str) -> None:
    uri = storage.join(store_root, "a/none")
    with pytest.raises(ObjectNotFound, match="does not exist"):
        storage.read_bytes(uri)
    with pytest.raises(ObjectNotFound):
        storage.download(uri, NEVER)
    with pytest.raises(ObjectNotFound):
        storage.upload("/no/such/file", uri)
    assert not Path(NEVER).exists()


def test_limit(store_root: str) -> None:
    uri = storage.join(store_root, "file")
    storage.write_bytes(uri, b"12345")
    assert storage.read_bytes(uri, limit=5) == b"12345"
    with pytest.raises(StorageError, match="larger than the 4 bytes"):
        storage.read_bytes(uri, limit=4)


def test_write_if_absent_keeps_the_first(store_root: str) -> None:
    uri = storage.join(store_root, "deep/er/file")
    assert storage.write_if_absent(uri, b"first")
    assert not storage.write_if_absent(uri, b"second")
    assert storage.read_bytes(uri) == b"first"


def test_write_if_version_replaces_only_what_was_read(store_root: str) -> None:
    uri = storage.join(store_root, "pointer")
    assert not storage.write_if_version(uri, b"x", "0" * 64)
    assert storage.write_if_version(uri, b"1", None)
    assert not storage.write_if_version(uri, b"2", None)
    data, version = storage.read_versioned(uri)
    assert data == b"1"
    assert storage.write_if_version(uri, b"2", version)
    assert not storage.write_if_version(uri, b"3", version)
    assert storage.read_bytes(uri) == b"2"
    assert storage.list_files(store_root) == ["pointer"]


def test_of_concurrent_creators_one_wins(store_root: str) -> None:
    uri = storage.join(store_root, "once")
    payloads = [f"{index}".encode() * 1000 for index in range(8)]
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda payload: storage.write_if_absent(uri, payload), payloads))
    assert won.count(True) == 1
    assert storage.read_bytes(uri) == payloads[won.index(True)]


def _count_up(uri: str, times: int) -> None:
    done = 0
    while done < times:
        data, version = storage.read_versioned(uri)
        done += storage.write_if_version(uri, str(int(data) + 1).encode(), version)


def test_no_update_is_lost_among_threads(store_root: str) -> None:
    uri = storage.join(store_root, "counter")
    storage.write_bytes(uri, b"0")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(_count_up, [uri] * 4, [8] * 4))
    assert storage.read_bytes(uri) == b"32"


def test_no_update_is_lost_among_processes(tmp_path: Path) -> None:
    uri = str(tmp_path / "counter")
    storage.write_bytes(uri, b"0")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_count_up, [uri] * 2, [50] * 2))
    assert storage.read_bytes(uri) == b"100"
    assert [path.name for path in tmp_path.iterdir()] == ["counter"]


def _run(code: str) -> int:
    return subprocess.run([sys.executable, "-c", code], timeout=600, check=False).returncode


def test_a_writer_killed_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    killed = _run(
        "import os, signal\n"
        "from infra import local_files\n"
        "def fill(file):\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
        f"local_files.receive({str(target)!r}, fill)\n"
    )
    assert killed == -signal.SIGKILL
    assert target.read_bytes() == b"old"
    assert storage.list_files(str(tmp_path)) == ["file"]


def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    uri = str(tmp_path / "file")
    storage.write_bytes(uri, b"old")
    killed = _run(
        "import os, signal\n"
        "from pathlib import Path\n"
        "from infra import local_files\n"
        f"with local_files._locked(Path({uri!r})):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert killed == -signal.SIGKILL
    assert storage.write_if_version(uri, b"new", storage.read_versioned(uri)[1])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_local_files_get_the_permissions_of_the_umask(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        storage.write_bytes(str(tmp_path / "a"), b"")
        storage.write_if_absent(str(tmp_path / "b"), b"")
    finally:
        os.umask(umask)
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"} == {0o640}


def test_local_trouble_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="is a directory, not a file; name a file in it"):
        storage.read_bytes(str(tmp_path))
    with pytest.raises(StorageError, match="is a directory, not a file; remove it, or name another place"):
        storage.read_own(str(tmp_path), limit=9)
    with pytest.raises(ObjectNotFound):
        storage.read_bytes(str(tmp_path / "file" / "below"))
    with pytest.raises(StorageError):
        storage.write_bytes(str(tmp_path / "file" / "below"), b"")


def test_nobody_is_waited_for_at_the_other_end_of_a_pipe(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for read in (storage.read_bytes, storage.read_versioned, lambda uri: storage.read_own(uri, limit=9)):
        for place in (pipe, link, Path("/dev/zero")):
            with pytest.raises(StorageError, match=r"is a (pipe|link)"):
                read(str(place))
    with pytest.raises(StorageError, match="is a pipe"):
        storage.download(str(pipe), str(tmp_path / "copy"))


def test_what_a_shell_hands_over_is_read(tmp_path: Path) -> None:
    ours, theirs = os.pipe()

    def write() -> None:
        os.write(theirs, b"name: x")
        os.close(theirs)

    writer = threading.Timer(0.05, write)
    writer.start()
    assert storage.read_bytes(f"/dev/fd/{ours}", limit=100) == b"name: x"
    writer.join()
    os.close(ours)
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert storage.read_bytes(str(tmp_path / "link")) == b"x", "users may link what they name"


def test_what_bears_its_digest_is_mended(store_root: str, tmp_path: Path) -> None:
    uri = storage.join(store_root, "digest")
    assert [storage.write_addressed(uri, b"whole") for _ in range(2)] == [False, False]
    for damaged in (b"whola", b"", b"whole and more"):
        storage.write_bytes(uri, damaged)
        assert storage.write_addressed(uri, b"whole")
        assert storage.read_own(uri, limit=5) == b"whole"
    storage.remove(uri)
    storage.remove(uri)
    assert not storage.exists(uri)
    outside, link = tmp_path / "outside", tmp_path / "link"
    outside.write_bytes(b"another's")
    link.symlink_to(outside)
    assert storage.write_addressed(str(link), b"whole")
    assert (link.is_symlink(), link.read_bytes(), outside.read_bytes()) == (False, b"whole", b"another's")


def test_upload_and_download(store_root: str, tmp_path: Path) -> None:
    # Over the 8 MiB at which a transfer becomes one in parts.
    content = os.urandom(2**20) * 9
    source, target = tmp_path / "source", tmp_path / "deep" / "target"
    source.write_bytes(content)
    uri = storage.join(store_root, "large")
    storage.upload(str(source), uri)
    storage.download(uri, str(target))
    assert target.read_bytes() == content


def test_arrow_meets_the_same_files(store_root: str) -> None:
    filesystem, path = storage.arrow_filesystem(store_root)
    filesystem.create_dir(path, recursive=True)
    with filesystem.open_output_stream(f"{path}/from_arrow") as stream:
        stream.write(b"arrow")
    assert storage.read_bytes(storage.join(store_root, "from_arrow")) == b"arrow"
    if storage.is_s3(store_root):
        assert os.environ["AWS_SECRET_ACCESS_KEY"].encode() not in pickle.dumps(filesystem)


Call = Callable[[str], object]
CALLS: list[Call] = [
    lambda uri: storage.exists(uri),
    lambda uri: storage.read_bytes(uri),
    lambda uri: storage.write_bytes(uri, b"x"),
    lambda uri: storage.write_if_absent(uri, b"x"),
    lambda uri: storage.write_if_version(uri, b"x", '"0"'),
    lambda uri: storage.list_files(uri),
    lambda uri: storage.download(uri, NEVER),
    lambda uri: storage.upload(__file__, uri),
]


def _refusal(call: Call, uri: str) -> str:
    began = time.monotonic()
    with pytest.raises(StorageError) as caught:
        call(uri)
    message = str(caught.value)
    assert time.monotonic() - began < 120
    assert uri in message
    assert "\n" not in message
    assert SECRET not in message
    return message


@pytest.mark.parametrize("call", CALLS)
def test_wrong_credentials(s3: S3Server, monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    assert "AWS_SECRET_ACCESS_KEY" in _refusal(call, f"{s3.fresh_prefix()}/file")


# Without write_if_version: whoever has a version has read it, so there the bucket is known.
@pytest.mark.parametrize("call", CALLS[:4] + CALLS[5:])
def test_missing_bucket(s3: S3Server, call: Call) -> None:
    message = _refusal(call, "s3://no-such-bucket/file")
    assert "no bucket 'no-such-bucket'" in message
    assert s3.service.url in message


def test_dead_endpoint(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://user:{SECRET}@127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    for call in CALLS:
        assert "no answer from http://127.0.0.1:9;" in _refusal(call, f"{s3.fresh_prefix()}/file")


def test_no_credentials(s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "needs credentials" in _refusal(CALLS[0], f"{s3.fresh_prefix()}/file")


def test_unknown_profile_and_endpoint_that_is_no_url(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"{s3.fresh_prefix()}/file"
    with monkeypatch.context() as patch:
        patch.setenv("AWS_PROFILE", "nobody")
        assert "no profile 'nobody'" in _refusal(CALLS[0], uri)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "minio:9000")
    with pytest.raises(StorageError, match="AWS_ENDPOINT_URL_S3 is not a URL"):
        storage.exists(uri)


def test_a_bucket_is_no_object(s3: S3Server) -> None:
    with pytest.raises(StorageError, match="names a bucket"):
        storage.write_bytes(f"s3://{s3.bucket}", b"")


def test_a_fresh_bucket_is_empty_and_listed_from_its_root(s3: S3Server) -> None:
    bucket = s3.fresh_bucket()
    assert storage.list_files(f"s3://{bucket}") == []
    storage.write_bytes(f"s3://{bucket}/a/b", b"")
    assert storage.list_files(f"s3://{bucket}") == ["a/b"]


def test_imports_nothing_that_a_consumer_of_bundles_lacks() -> None:
    code = (
        "import sys\n"
        "for name in ('ray', 'mlflow', 'pandas', 'pyarrow', 'sklearn', 'matplotlib'): sys.modules[name] = None\n"
        "import infra.object_storage, workers.bundle.read, workers.bundle.publish, workers.bundle.pull\n"
        "from infra.errors import MissingExtra\n"
        "try: infra.object_storage.arrow_filesystem('/tmp')\n"
        "except MissingExtra as error: assert 'speechprompt[train]' in str(error)\n"
        "else: raise SystemExit('no MissingExtra')\n"
    )
    assert _run(code) == 0
