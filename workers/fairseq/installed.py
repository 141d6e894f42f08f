"""fairseq itself, where it is installed."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from infra.errors import BackboneError, MissingExtra, SpeechPromptError

NEWEST_PYTHON = (3, 12)
"""For which there are builds of ve-fairseq."""


def check_installed() -> None:
    """Look for fairseq without the seconds that importing it takes.

    Raises:
        MissingExtra: it is not installed.
        BackboneError: this Python is too new for it.
    """
    if find_spec("fairseq") is None:
        raise _absent()


def _absent() -> SpeechPromptError:
    if sys.version_info[:2] <= NEWEST_PYTHON:
        return MissingExtra("fairseq", "fairseq")
    newest = ".".join(map(str, NEWEST_PYTHON))
    return BackboneError(f"--verify: there is no fairseq for a Python newer than {newest}; use that, or leave it out")


@contextmanager
def fairseq_at_hand() -> Iterator[None]:
    """Turns a missing fairseq into a sentence, and keeps its warnings and log lines out of the output.

    Raises:
        MissingExtra: it is not installed.
        BackboneError: this Python is too new for it.
    """
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # The upstream is archived; nobody will mend what it warns of.
            warnings.simplefilter("ignore")
            yield
    except ImportError as error:
        raise _absent() from error
    finally:
        logging.disable(disabled)
