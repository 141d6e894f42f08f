"""Client of the Ray dashboard, to which jobs are submitted, and its errors as sentences."""

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
    """Return the address of the dashboard: the one given, or that of the environment.

    Raises:
        JobError: it is not the address of a dashboard.
    """
    found = (address or os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS") or LOCAL).strip()
    # Ray would import any other scheme as a module.
    parts = urlsplit(found)
    try:
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable and not ADDRESS.fullmatch(found):
        raise JobError(f"{redacted(found)} is not the address of a Ray dashboard, like {LOCAL}; give {SUBMISSION}")
    return found


def dashboard_client(address: str | None) -> JobSubmissionClient:
    """Connect to the dashboard.

    Raises:
        JobError: the dashboard does not answer, or refuses the client.
    """
    where = dashboard_address(address)
    # Ray takes an address without a scheme for the cluster's, and asks the cluster for its dashboard.
    if reason := silence(where):
        raise JobError(f"no Ray cluster answers at {where} ({reason}); give {SUBMISSION}")
    if address:
        # Ray's client prefers this variable to its argument.
        os.environ["RAY_API_SERVER_ADDRESS"] = address
    with dashboard_explained(where):
        return JobSubmissionClient(where)


@contextmanager
def dashboard_explained(where: str) -> Iterator[None]:
    """Turn errors of requests to the dashboard into one sentence.

    Raises:
        JobError: the dashboard does not answer, or refuses a request.
    """
    try:
        yield
    except (SpeechPromptError, BrokenPipeError):
        raise
    # Ray passes on its HTTP client's errors, and has errors of its own that only their texts tell apart.
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
            "its certificate authority"
        )
    if "WRONG_VERSION_NUMBER" in said:
        return JobError(f"the Ray dashboard at {where} does not use TLS; write http:// instead of https://")
    if "runtime_env" in said or "runtime environment" in said:
        return JobError(f"the cluster cannot set up the job's runtime environment ({line}); see its dashboard")
    if code in ("401", "403", "407"):
        return JobError(
            f"the Ray dashboard at {where} refuses this account ({code}); put the cluster's token into RAY_AUTH_TOKEN"
        )
    if code.startswith("5"):
        return JobError(f"the Ray dashboard at {where} fails ({code}); check the cluster, then submit again")
    not_found = re.search(r"(?<![:\d])404\b", said)
    if "JSON" in type(error).__name__ or isinstance(error, KeyError) or code or "redirects" in said or not_found:
        return JobError(
            f"the server at {where} is not a Ray dashboard; give the dashboard's own address, like {LOCAL}, not a "
            f"page or a login in front of it, with {SUBMISSION}"
        )
    return JobError(f"no Ray dashboard answers at {where} ({line}); give {SUBMISSION}")
