"""Log lines for machines."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from infra.json_log import ROOT, log_as_json, log_fields, logs_as_json


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the product's loggers write as JSON."""
    logger = logging.getLogger(ROOT)
    before = logger.handlers, logger.level, logger.propagate
    stream = io.StringIO()
    log_as_json(stream)
    yield stream
    logger.handlers, logger.level, logger.propagate = before
    log_fields()


def lines(written: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_a_line_holds_the_fields_of_the_process_and_of_the_record(written: io.StringIO) -> None:
    log_fields(job="toy", gang="gang000")
    logging.getLogger("speechprompt.gang").info("lane %s", "tuning", extra={"task": "tones", "step": 20})
    [line] = lines(written)
    assert (line["job"], line["gang"], line["task"], line["step"]) == ("toy", "gang000", "tones", 20)
    assert (line["level"], line["logger"], line["message"]) == ("info", "speechprompt.gang", "lane tuning")
    assert {"time", "host", "pid"} <= line.keys()


def test_a_message_of_several_lines_and_an_exception_are_one_line(written: io.StringIO) -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logging.getLogger("speechprompt.x").exception("went\nwrong: ą")
    [line] = lines(written)
    assert line["message"] == "went\nwrong: ą"
    assert line["exception"].endswith("ValueError: first\nsecond")


def test_what_json_cannot_hold_is_written_as_text(written: io.StringIO) -> None:
    logging.getLogger("speechprompt.x").warning("odd", extra={"place": {1, 2}})
    assert lines(written)[0]["place"] == "{1, 2}"


def test_other_loggers_keep_their_own_handlers(written: io.StringIO) -> None:
    logging.getLogger("another").error("not ours")
    assert (written.getvalue(), logs_as_json()) == ("", True)
