"""A Ray cluster of two nodes on this machine in a process of its own: whoever is connected to a GCS dies with it."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from benchmarks.survival.marked import environment, kill_all, victims

START_SECONDS = 300.0
"""Ray gives its nodes half a minute to start, which is too little on a machine that is very busy."""


class NoCluster(Exception):
    """It did not start."""


class TwoNodes:
    """A head and a second node of one CPU each.

    Args:
        directory: short one for Ray's files, made.

    Attributes:
        address: of the cluster.
        mark: of its processes.

    Raises:
        NoCluster: it does not start.
    """

    def __init__(self, directory: Path) -> None:
        # Where Ray notes the address of the cluster, which must not take the place of another's.
        (directory / "ray").mkdir(parents=True)
        self.mark = uuid.uuid4().hex
        with (directory / "cluster.log").open("wb") as log:
            self._holder = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.survival.two_nodes", str(directory)],
                env={**environment(self.mark), "RAY_AUTH_MODE": "disabled", "RAY_TMPDIR": str(directory)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._holder.stdout is not None
        try:
            self.address = self._holder.stdout.readline().strip()
        except BaseException:
            self.close()
            raise
        if not self.address:
            self.close()
            raise NoCluster(f"no cluster could be started; see {directory}/cluster.log")

    @property
    def whole(self) -> bool:
        """Whether nothing of it has been killed."""
        found = [len(victims(self.mark, kind)) for kind in ("raylet", "gcs")]
        return self._holder.poll() is None and found == [2, 1]

    def close(self) -> None:
        """End it, with all that it started."""
        self._holder.kill()
        self._holder.wait()
        kill_all(self.mark)


def _hold(directory: Path) -> None:
    from ray._private import services
    from ray.cluster_utils import Cluster

    ask: Any = services.get_node

    def ask_patiently(*arguments: Any) -> Any:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return ask(*arguments)
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise

    services.get_node = ask_patiently
    head = {"num_cpus": 1, "include_dashboard": False, "temp_dir": str(directory / "ray")}
    cluster: Any = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=1)
    print(cluster.address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    _hold(Path(sys.argv[1]))
