"""The demo: every step on one machine, with the files and calls that a user would use."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import soundfile
from rich.console import Console
from rich.table import Table

from orchestrator.cluster.interruption import Interruption
from orchestrator.cluster.session import ray_session
from orchestrator.demo.corpus import write_corpus
from orchestrator.demo.recording import record
from orchestrator.demo.tasks import demo_tasks
from orchestrator.demo.voices import draw_voices
from orchestrator.planning import make_plan
from orchestrator.pretraining.file import load_pretrain_file
from orchestrator.progress import ProgressView, as_text, results_console
from orchestrator.report import JobReport
from orchestrator.views.tables import results_text
from workers.inference.classifier import Classifier

SEED = 0
HELD_OUT_PER_TASK = 3

BACKBONE_YAML = """\
# speechprompt backbone pretrain backbone.yaml
name: demo-gslm                      # a tokenizer and a small unit LM, made from the tasks' training recordings
out: backbone
tasks: tasks/*.yaml                  # their recordings are used, not their labels
tokenizer: {kind: mfcc, units: 100}  # MFCC features and k-means; needs no download
unit_lm: {layers: 4, dim: 128, heads: 4, ffn_dim: 512}
training: {steps: 600, batch_tokens: 2048, learning_rate: 2.0e-3, evaluate_every: 100}
"""

JOB_YAML = """\
# speechprompt run job.yaml
name: demo
backbone: backbone
tasks: tasks/*.yaml
# bundles, storage, tracking and units default to directories and an SQLite file beside this job
"""


def tell_story(directory: Path, *, scale: float, interruption: Interruption) -> bool:
    """Synthesize, pretrain, tune, publish, fetch, classify.

    Args:
        directory: directory for all files; those of an earlier run are reused.
        scale: factor on the size of the corpus.
        interruption: request to end the demo early.

    Returns:
        Whether every task was published.
    """
    directory = directory.absolute()
    console = results_console()
    with ProgressView() as view, ray_session():
        interruption.listen()
        with view.stage("synthesizing speech") as stage:
            write_corpus(directory, seed=SEED, scale=scale, progress=stage.update)
        (directory / "backbone.yaml").write_text(BACKBONE_YAML)
        (directory / "job.yaml").write_text(JOB_YAML)
        _pretrain(directory, view)
        report = _tune(directory, view, interruption)
    console.print(results_text(report))
    _classify(directory, report, console)
    _say_what_next(directory, console)
    return report.complete


def _pretrain(directory: Path, view: ProgressView) -> None:
    from orchestrator.pretraining.pretraining import pretrain_backbone

    if (directory / "backbone" / "backbone.json").exists():
        view.line(f"pretraining: {directory / 'backbone'} exists already")
        return
    made = pretrain_backbone(load_pretrain_file(str(directory / "backbone.yaml")), view)
    view.line(f"backbone: perplexity {made.perplexity:.2f} per unit on held-out voices")


def _tune(directory: Path, view: ProgressView, interruption: Interruption) -> JobReport:
    from orchestrator.driver import run_job

    plan = make_plan(str(directory / "job.yaml"))
    return run_job(plan, view=view, interruption=interruption).report


def _classify(directory: Path, report: JobReport, console: Console) -> None:
    """Load each bundle and classify new recordings of the test split's voices."""
    voices = draw_voices(seed=SEED)["test"]
    rng = np.random.default_rng(SEED + 1)
    table = Table(title="new recordings, classified with the published bundles", title_justify="left")
    for heading in ("recording", "said", "read as", "probability"):
        table.add_column(heading)
    (directory / "held_out").mkdir(exist_ok=True)
    published = {row.task: row.bundle for row in report.tasks if row.bundle}
    for task in demo_tasks():
        if task.name not in published:
            continue
        classifier = Classifier.from_uris([str(published[task.name])])
        classes = task.classes["test"]
        for number in range(HELD_OUT_PER_TASK):
            said = classes[int(rng.integers(len(classes)))]
            utterance = said[int(rng.integers(len(said)))]
            able = [voice for voice in voices if utterance.gender in (None, voice.gender)]
            wave, rate = record(utterance, able[number % len(able)], rng=rng)
            path = directory / "held_out" / f"{task.name}-{number}.wav"
            soundfile.write(path, wave, rate, subtype="PCM_16")
            [answers] = classifier.classify_audio([str(path)])
            table.add_row(
                as_text(str(path.relative_to(directory))),
                as_text(" ".join(utterance.labels)),
                as_text(" ".join(answer.labels[0] for answer in answers)),
                " ".join(f"{answer.probabilities[0]:.2f}" for answer in answers),
            )
    console.print(table)


def _say_what_next(directory: Path, console: Console) -> None:
    database = f"sqlite:///{directory / 'mlflow.db'}"
    console.print(f"bundles   {directory / 'bundles'}", soft_wrap=True)
    console.print(f"runs      mlflow ui --backend-store-uri {shlex.quote(database)}", soft_wrap=True)
