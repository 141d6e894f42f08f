"""The Ray dashboard, to which jobs are submitted: its address, and what it and Ray's client raise."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from ray.job_submission import JobSubmissionClient

from infra.errors import JobError, RayFailed, SpeechPromptError
from infra.redaction import redacted
from orchestrator.cluster.failures import is_rays, run_fault
from orchestrator.cluster.ray_place import ADDRESS, silence

LOCAL = "http://127.0.0.1:8265"
SUBMISSION = "--address, or set RAY_API_SERVER_ADDRESS"


def dashboard_address(address: str | None) -> str:
    """Where the dashboard is: what was said, or the environment.

    Raises:
        JobError: it is no address of a dashboard.
    """
    found = (address or os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS") or LOCAL).strip()
    # Ray takes any other scheme for the name of a module, and imports it.
    parts = urlsplit(found)
    try:
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable and not ADDRESS.fullmatch(found):
        raise JobError(f"{redacted(found)} is not the address of a Ray dashboard, like {LOCAL}; give {SUBMISSION}")
    return found


def dashboard_client(address: str | None) -> JobSubmissionClient:
    """A client of the dashboard, which has answered.

    Raises:
        JobError: why it cannot be used.
    """
    where = dashboard_address(address)
    # Without a scheme Ray takes it for the cluster's own address, and asks there for that of the dashboard.
    if reason := silence(where):
        raise JobError(f"no Ray cluster answers at {where} ({reason}); give {SUBMISSION}")
    if address:
        # Ray's client prefers this variable to what it is told.
        os.environ["RAY_API_SERVER_ADDRESS"] = address
    with dashboard_explained(where):
        return JobSubmissionClient(where)


@contextmanager
def dashboard_explained(where: str) -> Iterator[None]:
    """Turn what is raised while one speaks with the dashboard into one sentence.

    Raises:
        JobError: why it refuses, or does not answer.
    """
    try:
        yield
    except (SpeechPromptError, BrokenPipeError):
        raise
    # Ray passes on what its HTTP client raises, besides errors of its own that are told by their texts alone.
    except Exception as error:
        raise _fault(error, redacted(where)) from error


def _fault(error: Exception, where: str) -> JobError | RayFailed:
    said = str(error)
    line = redacted(next(iter(said.splitlines()), type(error).__name__).rstrip("."))
    status = re.search(r"status code (\d{3})|(\d{3}) (?:Client|Server) Error", said)
    code = next(filter(None, status.groups())) if status else ""
    if is_rays(error):
        return run_fault(error)
    if "exceeds the maximum size" in said:
        return JobError(f"the working directory is too large for Ray ({line}); leave files out by a .rayignore")
    if "CERTIFICATE_VERIFY_FAILED" in said or "CA certificate" in said:
        return JobError(
            f"the certificate of the Ray dashboard at {where} is not trusted; set REQUESTS_CA_BUNDLE to the file of "
            "who signed it"
        )
    if "WRONG_VERSION_NUMBER" in said:
        return JobError(f"the Ray dashboard at {where} speaks no TLS; write http:// instead of https://")
    if "runtime_env" in said or "runtime environment" in said:
        return JobError(f"the cluster cannot set up the job's runtime environment ({line}); look into its dashboard")
    if code in ("401", "403", "407"):
        return JobError(
            f"the Ray dashboard at {where} refuses this account ({code}); put the cluster's token into RAY_AUTH_TOKEN"
        )
    if code.startswith("5"):
        return JobError(f"the Ray dashboard at {where} is not well ({code}); look after the cluster, then submit again")
    not_found = re.search(r"(?<![:\d])404\b", said)
    if "JSON" in type(error).__name__ or isinstance(error, KeyError) or code or "redirects" in said or not_found:
        return JobError(
            f"what answers at {where} is not a Ray dashboard; give its own address, like {LOCAL}, not a page of it nor "
            f"a login before it, by {SUBMISSION}"
        )
    return JobError(f"no Ray dashboard answers at {where} ({line}); give {SUBMISSION}")
