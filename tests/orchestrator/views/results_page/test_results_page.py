"""The HTML page: self-contained, escaped, and with every figure of the report."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from orchestrator.report import BaselineFigures, JobReport, TaskRow, job_root, write_report
from orchestrator.views.results_page.page import render, results_page
from orchestrator.views.results_page.task_view import MOST_DRAWN, task_view
from task_specs.published import published_figures
from tests.fixtures.command_line import speechprompt
from tests.fixtures.tuning import lane_spec
from tests.orchestrator.test_report import make_job
from workers.baselines.verdict import TaskVerdict
from workers.evaluation.comparison import Comparison
from workers.evaluation.confusion import confusion_cells
from workers.evaluation.metrics import Predictions
from workers.evaluation.unit_use import UnitUse
from workers.tuning.lane_spec import SlotSpec
from workers.tuning.results.heard_file import HeardExample
from workers.tuning.results.outcome import LaneOutcome, write_outcome
from workers.tuning.results.unit_agreement import UnitAgreement
from workers.tuning.results.unit_use_file import UNIT_USE_FILE, LaneUnitUse, unit_use_bytes

HOSTILE = "</title></style><script>alert(1)</script><img src=//x onerror=y> {{ 7*7 }} \"'&"


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def said(self) -> str:
        return " ".join(" ".join(self.text).split())

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def outcome(
    labels: Sequence[Sequence[str]] = (("ja", "nein"),), *, key: str = "k0", rows: int = 40, seed: int = 0
) -> LaneOutcome:
    """A lane that is right about three times in four."""
    rng = np.random.default_rng(seed)
    spec = lane_spec(tuple(len(slot) for slot in labels), seed=seed)
    slots = tuple(SlotSpec(name=f"slot{index}", labels=tuple(slot)) for index, slot in enumerate(labels))
    truth = np.stack([rng.integers(len(slot), size=rows) for slot in labels], axis=1)
    guess = np.where(rng.random(truth.shape) < 0.75, truth, 0)
    scores = [np.eye(len(slot), dtype=np.float32)[guess[:, index]] for index, slot in enumerate(labels)]
    found = Predictions(scores, truth)
    return LaneOutcome(
        key=key,
        spec=spec.model_copy(update={"slots": slots}),
        lm_fingerprint="a" * 64,
        stopped="steps",
        steps=9,
        best_step=6,
        figures={split: {"accuracy": 0.75, "macro_f1": 0.7, "loss": 1.0} for split in ("valid", "test")},
        confusions=[confusion_cells(found, slot) for slot in range(len(labels))],
        trained=100,
        special_rows=0,
        mapped_units=None,
        seconds=1.0,
    )


def row(task: str = "yes-no", **fields: object) -> TaskRow:
    values = {
        "metric": "accuracy",
        "recipe": "default",
        "status": "published",
        "test": 0.75,
        "test_std": 0.02,
        "seeds": 2,
    }
    return TaskRow.model_validate({"task": task, **values, **fields})


BASELINES = {"majority": BaselineFigures(test=0.5), "ngrams": BaselineFigures(error="no room; leave it out")}


def page(*rows: TaskRow, outcomes: Sequence[LaneOutcome] = ()) -> Page:
    report = JobReport(job="toy", backbone="tiny", tasks=list(rows))
    return Page(render(report, [task_view(row, outcomes) for row in rows]))


def test_every_figure_is_on_the_page() -> None:
    published = published_figures().tasks["lithuanian-speech-commands"]
    shown = page(row(baselines=BASELINES, published=published, trained=16864), outcomes=[outcome()])
    for part in ("75.0 ± 2.0", "50.0", "failed", "91.8", "95.5", "79.5", "no room; leave it out", "16,864 trained"):
        assert part in shown.said, part
    assert "arXiv 2303.00733" in shown.said
    assert "slot0: " in shown.said


def test_what_was_heard_is_drawn_unit_by_unit() -> None:
    found = outcome()
    label = found.spec.slots[0].labels[1]
    heard = [[HeardExample(1, np.array([7, 9, 3], np.int16), np.array([0.5, -1.0, 0.25], np.float32))]]
    report = JobReport(job="toy", backbone="tiny", tasks=[row()])
    shown = Page(render(report, [task_view(row(), [found], heard=heard)]))
    assert f"{label} slot0; most: unit 7: +0.50 nats, 1 of 3" in " ".join(shown.said.split())
    bars = [attributes for name, attributes in shown.tags if attributes.get("class") in ("for", "against")]
    assert [(bar["class"], bar["y"], bar["height"]) for bar in bars] == [
        ("for", "13.0", "12.0"), ("against", "25.0", "24.0"), ("for", "19.0", "6.0"),
    ]  # fmt: skip
    silent = task_view(row(), [found], heard=[[HeardExample(1, np.array([7], np.int16), np.zeros(1, np.float32))]])
    assert silent.heard[0].units[0].share == 0
    assert task_view(row(), [found]).heard == []


def test_a_baseline_that_wins_is_said_in_plain_words() -> None:
    comparison = Comparison(difference=-0.1, interval=(-0.15, -0.05), p=0.001, margin=0.03)
    verdict = TaskVerdict(verdict="loss", baseline="ngrams", comparison=comparison, p=0.002)
    shown = page(row(baselines={"ngrams": BaselineFigures(test=0.85)}, verdict=verdict))
    for part in ("loss to ngrams", "-10.0 (-15.0 to -5.0)", "0 wins, 0 ties, 1 loss, 0 undecided"):
        assert part in shown.said, part
    loss = "the baseline ngrams is significantly better than the prompts, by 10.0 points (95 % interval 5.0 to 15.0)."
    assert shown.said.count(loss) == 2
    assert [attributes.get("class") for name, attributes in shown.tags if name == "td"].count("best") == 1


def test_a_job_without_anything_to_compare_with_has_a_page_too() -> None:
    shown = page(row(), row("broken", status="failed", test=None, error="labels are wrong; correct them"))
    assert "labels are wrong; correct them" in shown.said
    assert shown.count("svg") == 0


def test_nothing_is_fetched_and_nothing_runs() -> None:
    published = published_figures().tasks["esc50"]
    shown = page(row(baselines=BASELINES, published=published), outcomes=[outcome()])
    assert not {"script", "link", "iframe", "object", "base", "form"} & {name for name, _ in shown.tags}
    for name, attributes in shown.tags:
        assert not [key for key in attributes if key.startswith("on")], name
        for key in ("src", "href", "srcset", "action", "data", "poster", "xlink:href"):
            target = attributes.get(key)
            assert target is None or target.startswith(("#", "data:image/png;base64,")), (name, target)
    styles = [text for text in shown.text if "{" in text]
    assert not any("url(" in text or "@import" in text for text in styles)
    [policy] = [attributes for name, attributes in shown.tags if attributes.get("http-equiv")]
    assert "default-src 'none'" in str(policy["content"])


def test_texts_of_users_stay_texts() -> None:
    fields = dict.fromkeys(("task", "family", "language", "point", "bundle", "error", "recipe"), HOSTILE)
    baselines = {"ngrams": BaselineFigures(error=HOSTILE)}
    report = JobReport(job=HOSTILE, backbone=HOSTILE, tasks=[row(**fields, baselines=baselines)])
    html = render(report, [task_view(report.tasks[0], [outcome([[HOSTILE, "nein"]])])])
    shown = Page(html)
    assert not {"script", "img"} & {name for name, _ in shown.tags}
    assert shown.count("style") == shown.count("body") == 1
    assert "<script" not in html
    assert HOSTILE in shown.said


def test_matrices_add_up_the_seeds_and_name_the_mistakes() -> None:
    seeds = [outcome(key="k0", seed=0), outcome(key="k1", seed=1)]
    [matrix] = task_view(row(), seeds).matrices
    assert (matrix.total, len(matrix.labels)) == (80, 2)
    assert matrix.right == sum(cell.count for cell in matrix.cells if cell.row == cell.column)
    assert matrix.total == sum(cell.count for cell in matrix.cells)
    assert [cell.title for cell in matrix.mistakes] == [
        f"nein → ja: {matrix.total - matrix.right} ({100 * matrix.mistakes[0].share:.1f} %)"
    ]
    for label in (0, 1):
        assert sum(cell.share for cell in matrix.cells if cell.row == label) == pytest.approx(1)


def test_every_slot_has_a_matrix_and_a_thousand_classes_are_not_drawn() -> None:
    many = [f"speaker {number}" for number in range(MOST_DRAWN + 1)]
    shown = page(row(), outcomes=[outcome([["a", "b"], many], rows=400)])
    assert shown.count("svg") == 1
    assert f"{len(many)} classes are too many to draw" in shown.said
    assert "→ speaker 0: " in shown.said


def uses(classes: Sequence[int], seed: int) -> LaneUnitUse:
    rng = np.random.default_rng(seed)
    slots = [UnitUse(rng.random((count, 14)), rng.normal(size=(count, 14))) for count in classes]
    return LaneUnitUse(slots, np.arange(14) - 4)


def test_units_are_shown_with_their_stability() -> None:
    agreement = UnitAgreement(spearman=0.614, overlap=0.432, overlap_by_chance=0.1, top=10, seeds=2)
    shown_row = row(unit_agreement={"slot1": agreement})
    outcomes = [outcome([["a", "b"], ["c", HOSTILE, "e"]], key=key) for key in ("k0", "k1")]
    view = task_view(shown_row, outcomes, [uses((2, 3), 0), uses((2, 3), 1)])
    shown = Page(render(JobReport(job="toy", backbone="tiny", tasks=[shown_row]), [view]))
    pictures = [attributes for name, attributes in shown.tags if name == "img"]
    assert [str(picture["src"])[:22] for picture in pictures] == ["data:image/png;base64,"] * 2
    for picture in pictures:
        assert base64.b64decode(str(picture["src"])[22:]).startswith(b"\x89PNG")
    assert "rank correlation of 0.61" in shown.said
    assert "two seeds share 43 % (10 % by chance)" in shown.said
    assert shown.said.count("rank correlation") == 1
    assert f"{HOSTILE}: " in shown.said


def test_units_are_named_in_the_order_of_their_mean_importance() -> None:
    use = UnitUse(np.arange(14.0)[None].repeat(2, axis=0), np.array([[-1.0] * 14, [1.0] * 14]))
    other = UnitUse(use.importance[:, ::-1] / 10, use.own)
    lanes = [LaneUnitUse([slot], np.arange(14) - 4) for slot in (use, other)]
    [view] = task_view(row(), [outcome()], lanes).units
    label, units = view.classes[0]
    assert (label, [unit.name for unit in units]) == ("ja", ["9", "8", "7", "6", "5", "4"])
    assert [unit.seeds for unit in units] == [1] * 6
    assert [units[0].speaks_for for _, units in view.classes] == [False, True]


def test_the_command_prints_the_page_of_what_is_stored(tmp_path: Path) -> None:
    job = make_job(str(tmp_path / "runs"), tmp_path)
    report = JobReport(job="toy", backbone="tiny", tasks=[row(lanes=["k0", "gone"]), row("old")])
    write_report(job, report)
    use = {UNIT_USE_FILE: unit_use_bytes(uses((2,), 0))}
    write_outcome(f"{job_root(job)}/lanes", outcome(), {}, use)
    html = results_page(job, report)
    assert (Page(html).count("svg"), Page(html).count("img")) == (1, 1)
    done = speechprompt("results", str(tmp_path / "job.yaml"), "--format", "html")
    assert (done.code, done.stdout, done.stderr) == (0, html, "")
