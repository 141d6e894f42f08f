from __future__ import annotations

import struct
import subprocess
import sys

import numpy as np
import pytest

from workers.evaluation.figures import confusion_png


def _size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


@pytest.mark.parametrize("classes", [2, 36])
def test_draws_a_picture_that_grows_with_the_classes(classes: int) -> None:
    table = np.random.default_rng(0).integers(0, 9, (classes, classes))
    table[0] = 0  # a class without examples
    png = confusion_png(table, [f"žodis {number}" for number in range(classes)], "lt: label, test")
    assert _size(png) == (int(110 * (1 + (side := min(14.0, 2.6 + 0.42 * classes)))), int(110 * side))
    assert png != confusion_png(table.T.copy(), [f"žodis {number}" for number in range(classes)], "lt: label, test")


def test_labels_of_sentences_leave_room_for_the_picture() -> None:
    # A picture without room is a warning, and warnings are errors here.
    png = confusion_png(np.eye(2, dtype=np.int64), ["a" * 200, "long " * 40], "title " * 60)
    assert png.startswith(b"\x89PNG")


def test_dollars_in_labels_are_no_formulas() -> None:
    png = confusion_png(np.eye(2, dtype=np.int64), [r"$\foo$", "$"], r"$\bar{$ $")
    assert png.startswith(b"\x89PNG")


def test_matplotlib_is_imported_only_to_draw_and_its_absence_is_explained() -> None:
    code = (
        "import sys; import numpy as np; import workers.evaluation.figures as figure;"
        "assert 'matplotlib' not in sys.modules; sys.modules['matplotlib'] = None\n"
        "try: figure.confusion_png(np.eye(2, dtype=np.int64), ['a', 'b'], 't')\n"
        "except figure.MissingExtra as error: assert \"'speechprompt[train]'\" in str(error)\n"
        "else: sys.exit('no error')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
