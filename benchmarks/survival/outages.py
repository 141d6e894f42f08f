"""Hypothesis: what waits for an S3 server that goes away for a minute comes through, and is whole.

    python -m benchmarks.survival.outages [--seconds 60] [--times 3] [--threads 8]

Before a real server stands a proxy that refuses all connections for some time, again and again. Threads of one process
read, write on condition and transfer in parts through boto3, and write and read through Arrow; none is told to wait.
Headline: calls, and how many failed or came back other than they were written (0).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from infra import object_storage as storage
from infra.errors import StorageError
from infra.local_cluster.s3_server import start_s3_server
from infra.local_cluster.service import free_port
from tests.fixtures.faulty_proxy import FaultyProxy

LARGE = os.urandom(20 << 20)
PAUSE = 2.0


def main() -> None:
    """Start the server, take it away, and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--threads", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sp", dir="/tmp") as directory:
        secret = uuid.uuid4().hex
        server = start_s3_server(
            Path(directory), port=free_port(), access_key="key", secret_key=secret, bucket="outages"
        )
        try:
            with FaultyProxy(server.url) as proxy:
                os.environ.update(server.env, AWS_ENDPOINT_URL_S3=proxy.url, AWS_EC2_METADATA_DISABLED="true")
                _measure(proxy, Path(directory), options)
        finally:
            server.stop()


def _measure(proxy: FaultyProxy, directory: Path, options: argparse.Namespace) -> None:
    over = threading.Event()
    counts: Counter[str] = Counter()
    longest: dict[str, float] = {}

    def work(number: int) -> None:
        kind, call = list(CALLS.items())[number % len(CALLS)]
        while not over.is_set():
            began = time.monotonic()
            try:
                counts[f"{kind}, other bytes"] += not call(f"s3://outages/{uuid.uuid4().hex}", directory)
            except (StorageError, OSError) as error:
                counts[f"{kind}, failed"] += 1
                print(f"{kind}: {error}", flush=True)
            counts[kind] += 1
            longest[kind] = max(longest.get(kind, 0.0), time.monotonic() - began)
            over.wait(0.2)

    with ThreadPoolExecutor(options.threads) as pool:
        workers = [pool.submit(work, number) for number in range(options.threads)]
        for _ in range(options.times):
            time.sleep(PAUSE)
            with proxy.down(options.seconds):
                pass
            # Until each has come through, so that every outage is one for every thread.
            time.sleep(25.0)
        over.set()
        for worker in workers:
            worker.result()
    print(f"{options.times} outages of {options.seconds:.0f} s, {options.threads} threads")
    print("| what | calls | failed | other bytes | longest call, s |\n|---|---|---|---|---|")
    for kind in CALLS:
        bad = counts[f"{kind}, failed"], counts[f"{kind}, other bytes"]
        print(f"| {kind} | {counts[kind]} | {bad[0]} | {bad[1]} | {longest.get(kind, 0):.0f} |")


def _small(uri: str, _: Path) -> bool:
    data = uri.encode() * 100
    return storage.write_if_absent(uri, data) and storage.read_bytes(uri) == data


def _parts(uri: str, directory: Path) -> bool:
    local = directory / f"{threading.get_ident()}.bin"
    local.write_bytes(LARGE)
    storage.upload(str(local), uri)
    storage.download(uri, str(local))
    return local.read_bytes() == LARGE


def _arrow(uri: str, _: Path) -> bool:
    filesystem, path = storage.arrow_filesystem(uri)
    with filesystem.open_output_stream(path) as stream:
        stream.write(LARGE[: 1 << 20])
    with filesystem.open_input_stream(path) as stream:
        return bool(stream.read() == LARGE[: 1 << 20])


CALLS: dict[str, Callable[[str, Path], bool]] = {
    "conditional write, read": _small,
    "transfer in parts": _parts,
    "Arrow": _arrow,
}

if __name__ == "__main__":
    main()
