"""Arrow's S3 client with retries that survive pickling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem


class ArrowS3(S3FileSystem):  # type: ignore[misc]  # pyarrow has no types
    """An ``S3FileSystem`` that keeps its retries when pickled, which Arrow itself would reset to three.

    Args:
        options: options of ``S3FileSystem``, without credentials.
        attempts: attempts for each request, including the first.
    """

    def __init__(self, options: Mapping[str, Any], *, attempts: int) -> None:
        super().__init__(**options, retry_strategy=AwsStandardS3RetryStrategy(max_attempts=attempts))
        self._options, self._attempts = dict(options), attempts

    def __reduce__(self) -> tuple[Callable[..., ArrowS3], tuple[Mapping[str, Any], int]]:
        return _make, (self._options, self._attempts)


def _make(options: Mapping[str, Any], attempts: int) -> ArrowS3:
    return ArrowS3(options, attempts=attempts)
