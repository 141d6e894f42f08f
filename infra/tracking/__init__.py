"""MLflow runs that survive an absent MLflow: everything is spooled on disk and sent in the background.

with Tracking("http://127.0.0.1:5000", Path("runs/spool")) as tracking:
    parent = tracking.run("baltic", "submission 1", key="baltic/1")
    lane = tracking.run("baltic", "lt s0", key="baltic/lt/0", parent_key="baltic/1", params={"seed": 0})
    lane.point(100, {"train/loss": 0.7})
    lane.finish("FINISHED")
"""

from infra.tracking.check import check
from infra.tracking.run_log import RunLog, RunStatus
from infra.tracking.tracking import Tracking, Unsent

__all__ = ["RunLog", "RunStatus", "Tracking", "Unsent", "check"]
