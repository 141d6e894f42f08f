"""Field type of a path in a job file or a task spec: local or ``s3://``, absolute once it is read."""

from __future__ import annotations

import os
import re
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo

from infra import object_storage
from infra.errors import StorageError
from task_specs.environment import expand
from task_specs.fault import fault


def located(path: str, base: str | None) -> str:
    """``path`` with its environment variables expanded, made absolute against the directory ``base``.

    Without a directory it is one that was located before, as in what a worker is told, and nothing is expanded again.

    Raises:
        pydantic_core.PydanticCustomError: an empty path, an unset variable, somebody else's home, a scheme other than
            ``s3://``, or a relative path where there is no directory to resolve it against.
    """
    if base is not None:
        path = expand(path)
        if somebody := re.match(r"~[A-Za-z_][^/]*", path):
            raise fault(f"{somebody[0]} is not expanded", f"write that directory, or ./{somebody[0]} for that name")
    else:
        if not (object_storage.is_s3(path) or path.startswith((os.sep, "~"))):
            raise fault("a relative path has nothing to be relative to here", "give an absolute path")
        base = os.sep
    try:
        return object_storage.resolve(path, base)
    except StorageError as error:
        message, _, remedy = str(error).partition("; ")
        raise fault(message, remedy or "correct the path") from error


def _from_context(path: str, info: ValidationInfo) -> str:
    return located(path, info.context.get("base") if info.context else None)


Location = Annotated[str, AfterValidator(_from_context)]
"""Resolved against ``context={"base": directory}`` of the validation."""
