"""Runs in a tracker, that survive its absence: everything is spooled on disk and sent in the background.

with Tracking("http://127.0.0.1:5000", Path("runs/spool")) as tracking:
    parent = tracking.run("baltic", "submission 1", key="baltic/1")
    lane = tracking.run("baltic", "lt s0", key="baltic/lt/0", parent_key="baltic/1", params={"seed": 0})
    lane.point(100, {"train/loss": 0.7})
    lane.finish("FINISHED")
"""

from infra.tracking.event import RunStatus
from infra.tracking.run_log import RunLog
from infra.tracking.trackers import check, end_left_runs
from infra.tracking.tracking import Tracking, Unsent

__all__ = ["RunLog", "RunStatus", "Tracking", "Unsent", "check", "end_left_runs"]
