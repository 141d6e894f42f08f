"""What tracking asks of a store of runs. Another tracker is a class of this shape and one line in ``trackers``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from infra.tracking.event import Header, Logged, Status


@dataclass
class Remote:
    """A run in the store, and what is known to be in it.

    Attributes:
        header: which run it is.
        run_id: its id.
        status: its status, as the store spells it.
        steps: for each metric name that was looked up, the steps that have a value.
        fresh: made by this process, hence without any history to look up.
    """

    header: Header
    run_id: str
    status: str
    steps: dict[str, set[int]] = field(default_factory=dict)
    fresh: bool = False


class Store(Protocol):
    """One store of runs.

    Every call may be made again, by this process or another: what it has taken stays there once. A call that raises is
    repeated later, whatever it raises.

    Args:
        uri: address of the store.
        root: local directory of this store's spool.

    Attributes:
        tracker: what messages call it.
    """

    tracker: ClassVar[str]

    def __init__(self, uri: str, root: Path) -> None: ...

    @staticmethod
    def prepare() -> None:
        """Make sure, at little cost, that what it is spoken to with is installed.

        Raises:
            MissingExtra: it is not.
        """

    @staticmethod
    def check(uri: str, *, experiment: str | None = None) -> None:
        """Ask whether the store can be used; nothing is made there.

        Args:
            uri: its address.
            experiment: also ask whether this experiment can be written.

        Raises:
            TrackingUnreachable: it does not answer now, and may later.
            TrackingError: it cannot be used.
            MissingExtra: what it is spoken to with is not installed.
        """

    @staticmethod
    def end_left_runs(uri: str, experiment: str, keys: Collection[str]) -> int:
        """Set runs that nobody goes on with to KILLED: those of these keys, and those below them; returns how many
        were still said to be running.

        Raises:
            TrackingUnreachable: it cannot be asked now.
            MissingExtra: what it is spoken to with is not installed.
        """

    @staticmethod
    def reason(error: Exception) -> str:
        """Why the store cannot be used, short, printable and without credentials."""

    @staticmethod
    def lost_data(error: Exception) -> bool:
        """Whether the store lost what it had, so that an older copy may take its place: all is then sent again."""

    def attach(self, header: Header, run_id: str | None) -> Remote:
        """Find the run by its id or its key, or make it."""

    def link(self, remote: Remote) -> bool:
        """Hang the run below its parent; false as long as nobody has made the parent."""

    def log(self, remote: Remote, events: Sequence[Logged]) -> list[tuple[str, str]]:
        """Take points, parameters and tags. A metric that has a value at a step keeps it, a parameter keeps its value,
        and a later tag replaces an earlier one; a point on a run that has ended makes it a running one.

        Returns:
            What the store, which is well, refuses for good, each with the reason.
        """

    def log_artifact(self, remote: Remote, local: Path, path: str) -> None:
        """Take a file, which replaces itself when sent again.

        Args:
            remote: the run.
            local: the file; of the same name as the artifact.
            path: the artifact's.
        """

    def terminate(self, remote: Remote, event: Status) -> None:
        """Set the final status and the time of it."""

    def confirm(self, remote: Remote) -> None:
        """Raise unless the store answers and has the run."""
