"""fairseq, an extra that is needed for nothing but to check imports."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from infra.errors import BackboneError, MissingExtra

MOST_ROUNDING = 1e-3
"""Differences of float32 sums in another order stay far below it, a wrong tensor far above."""


def check_installed() -> None:
    """Look for fairseq without the seconds that importing it takes.

    Raises:
        MissingExtra: it is not installed.
    """
    if find_spec("fairseq") is None:
        raise MissingExtra("fairseq", "fairseq")


def check_difference(difference: float, what: str) -> None:
    """Refuse an import that computes something else than fairseq does.

    Raises:
        BackboneError: the difference is more than rounding.
    """
    if not difference <= MOST_ROUNDING:
        raise BackboneError(
            f"the imported {what} differ from fairseq's by up to {difference:.2g}; nothing was written, "
            "report it with the name of the checkpoint"
        )


@contextmanager
def fairseq_at_hand() -> Iterator[None]:
    """Turns a missing fairseq into a sentence, and keeps its warnings and log lines out of the output.

    Raises:
        MissingExtra: it is not installed.
    """
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # The upstream is archived; nobody will mend what it warns of.
            warnings.simplefilter("ignore")
            yield
    except ImportError as error:
        raise MissingExtra("fairseq", "fairseq") from error
    finally:
        logging.disable(disabled)
