"""Ray, S3 and MLflow on this machine: started together, recorded, and stopped by the record.

<directory>/         closed to other users, whatever the umask
    services.json    what runs: pid and start time of each process
    env.sh           what a user sources; credentials included
    ray_token        shared secret of the Ray cluster
    s3/, s3.json     objects, and the one identity that may touch them
    s3_inner.pem     what the parts of the S3 server show each other
    mlflow/          the tracking database, and users and password of its server
    logs/            one file per service, and Ray's own logs after the end
"""

from __future__ import annotations

import json
import secrets
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from infra.errors import SpeechPromptError
from infra.local_cluster.mlflow_server import start_mlflow_server
from infra.local_cluster.ray_head import LONGEST_TEMPORARY_DIRECTORY, start_ray_head
from infra.local_cluster.s3_server import start_s3_server
from infra.local_cluster.service import Service, accepts, free_port
from infra.private_directory import private_directory, write_private
from infra.private_ray import PREFIX, SESSIONS, directory_for_ray

BUCKET = "speechprompt"
PORTS = {"s3": 18333, "mlflow": 15000, "ray": 6399, "dashboard": 8277}
"""Ports to use if they are free, so that addresses stay the same."""


@dataclass
class Cluster:
    """A started cluster.

    Attributes:
        directory: directory of the cluster.
        services: services in the order of their start.
        temporary: Ray's session directory, which is elsewhere because its path must be short.
    """

    directory: Path
    services: list[Service] = field(default_factory=list)
    temporary: Path | None = None

    @property
    def env(self) -> dict[str, str]:
        """Environment variables for clients, including credentials."""
        return {name: value for service in self.services for name, value in service.env.items()}

    def exports(self) -> str:
        """Return ``env`` as lines for a shell."""
        return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in self.env.items())

    def save(self) -> None:
        """Record the services, without credentials."""
        services = [
            {"name": s.name, "pid": s.pid, "url": s.url, "started": s.started, "mark": s.mark} for s in self.services
        ]
        temporary = str(self.temporary) if self.temporary is not None else None
        state = {"services": services, "temporary": temporary}
        write_private(self.directory / "services.json", json.dumps(state, indent=2) + "\n")

    @classmethod
    def load(cls, directory: Path) -> Cluster:
        """Read the record in a directory; without a record, return a cluster without services.

        Raises:
            SpeechPromptError: the record is damaged.
        """
        record = directory / "services.json"
        if not record.exists():
            return cls(directory)
        try:
            state = json.loads(record.read_text(encoding="utf-8"))
            services = [Service(**service) for service in state["services"]]
            temporary = Path(state["temporary"]) if state["temporary"] else None
        except (ValueError, KeyError, TypeError) as error:
            raise SpeechPromptError(
                f"{record}: not a record of running services ({error}); end them by hand and remove it"
            ) from error
        return cls(directory, services, temporary)

    def down(self) -> None:
        """Stop every recorded service, last one first, and nothing else."""
        for service in reversed(self.services):
            service.stop()
        if self.temporary is not None and self.temporary.exists():
            self._keep_ray_logs(self.temporary)
            shutil.rmtree(self.temporary)
        for name in ("services.json", "env.sh", "ray_token"):
            (self.directory / name).unlink(missing_ok=True)

    def _keep_ray_logs(self, temporary: Path) -> None:
        for session in sorted((temporary / SESSIONS).glob("session_2*")):
            if (session / "logs").is_dir():
                shutil.copytree(session / "logs", self.directory / "logs" / session.name, ignore_dangling_symlinks=True)


def up(directory: Path, *, cpus: int | None = None, say: Callable[[str], None] = lambda _: None) -> Cluster:
    """Start S3, MLflow and Ray, in this order, so that Ray's workers have the environment of the other two.

    Args:
        directory: directory of the cluster; earlier objects and runs in it are served again.
        cpus: logical CPUs of the Ray head; default: all of the machine's.
        say: function called with each progress line.

    Raises:
        StorageError: the directory cannot be made, or other users can write it.
        SpeechPromptError: the cluster runs already, or a service did not start; then all others are stopped.
        MissingExtra: a server is not installed.
    """
    directory = private_directory(directory.absolute())
    if any(service.alive() for service in Cluster.load(directory).services):
        raise SpeechPromptError(f"{directory}: a cluster runs already; bring it down first")
    cluster = Cluster(directory)
    with _all_or_nothing(cluster):
        say("starting S3")
        s3 = start_s3_server(
            directory,
            port=_port("s3"),
            access_key=secrets.token_hex(10),
            secret_key=secrets.token_hex(20),
            bucket=BUCKET,
        )
        cluster.services.append(s3)
        cluster.save()
        say("starting MLflow")
        mlflow = start_mlflow_server(
            directory, port=_port("mlflow"), artifacts=f"s3://{BUCKET}/mlflow", env=s3.env, authenticated=True
        )
        cluster.services.append(mlflow)
        cluster.temporary = _short_directory()
        cluster.save()
        say("starting Ray")
        ray = start_ray_head(
            directory,
            port=_port("ray"),
            dashboard_port=_port("dashboard"),
            temporary=cluster.temporary,
            cpus=cpus,
            env=cluster.env,
        )
        cluster.services.append(ray)
        cluster.save()
        write_private(directory / "env.sh", cluster.exports())
    return cluster


@contextmanager
def _all_or_nothing(cluster: Cluster) -> Iterator[None]:
    try:
        yield
    except BaseException:
        # Also when interrupted, since a half-started cluster is of no use.
        cluster.down()
        raise


def _port(name: str) -> int:
    return free_port() if accepts("127.0.0.1", PORTS[name]) else PORTS[name]


def _short_directory() -> Path:
    parent = tempfile.gettempdir()
    if len(parent) + len(f"/{PREFIX}12345678") > LONGEST_TEMPORARY_DIRECTORY:
        parent = "/tmp"  # noqa: S108
    return directory_for_ray(Path(parent))
