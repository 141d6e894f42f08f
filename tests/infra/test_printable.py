"""Text that would steer a terminal or break a line is spelled out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.printable import is_text, printable, printable_json, printable_lines

ANY = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("gr\udcf6\udcdfe.wav", r"gr\xf6\xdfe.wav"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\nerror: none", r"a\nerror: none"),
        ("a\r\tb", r"a\r\tb"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\x9b2J", r"\x9b2J"),
        ("y\u200bes\ufeff", r"y\u200bes\ufeff"),
        ("a\u2028b", r"a\u2028b"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("ačiū 日本 שלום नमस्ते‍ 👩‍🔬", "ačiū 日本 שלום नमस्ते‍ 👩‍🔬"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(ANY)
def test_any_text_is_shown_once(text: str) -> None:
    shown = printable(text)
    assert is_text(shown)
    assert len(shown.splitlines()) <= 1
    assert printable(shown) == printable_lines(shown) == shown


@given(ANY)
def test_json_says_the_same(text: str) -> None:
    document = printable_json(json.dumps({"text": text}, ensure_ascii=False, indent=1))
    assert is_text(document)
    assert json.loads(document) == json.loads(json.dumps({"text": text}))
