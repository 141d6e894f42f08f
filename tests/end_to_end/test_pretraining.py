"""Pretraining on the Ray of the session: what is kept of a run that overfits, and of one that diverges."""

from __future__ import annotations

import re
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from orchestrator.exit_codes import INTERRUPTED
from tests.fixtures.command_line import Finished, speechprompt, speechprompt_process
from tests.fixtures.pretrain_here import pretrain_here
from tests.fixtures.tiny_job import write_task, write_yaml
from workers.backbone.directory import BACKBONE_FILE, read_backbone
from workers.unit_lm.gslm.model import GSLM
from workers.unit_lm.pretrain_rank import read_sequences
from workers.unit_lm.pretraining import Pretraining, PretrainSettings

pytestmark = pytest.mark.usefixtures("ray_cluster")

UNITS, EVERY, PATIENCE = 8, 10, 12


def describe(root: Path, empty_store: Path) -> Path:
    """A backbone to pretrain on units that only a few rows repeat, so that nothing is to be learned but those rows."""
    shutil.copyfile(empty_store, root / "mlflow.db")
    rng = np.random.default_rng(0)
    rows = [
        {"frame_units": " ".join(map(str, rng.integers(UNITS, size=20))), "label": "abc"[row % 3], "split": split}
        for split, count in {"train": 6, "valid": 12, "test": 3}.items()
        for row in range(count)
    ]
    write_task(root / "tasks", "noise", rows)
    content = {
        "name": "tiny",
        "out": "backbone",
        "tasks": "tasks/noise.yaml",
        "tokenizer": {"kind": "external", "name": "noise", "units": UNITS},
        "unit_lm": {"layers": 2, "dim": 16, "heads": 2, "ffn_dim": 24},
        "training": {
            "steps": 400,
            "batch_tokens": 128,
            "warmup_steps": 5,
            "evaluate_every": EVERY,
            "learning_rate": 0.02,
            "dropout": 0.0,
            "precision": "fp32",
            "patience": PATIENCE,
        },
    }
    return write_yaml(root / "backbone.yaml", content)


@dataclass(frozen=True)
class Trained:
    """A training from its beginning to its end."""

    described: Path
    done: Finished

    @property
    def root(self) -> Path:
        return self.described.parent


@pytest.fixture(scope="module")
def trained(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """In this process; the one that is killed gives the same on Ray Train."""
    described = describe(tmp_path_factory.mktemp("trained"), empty_store)
    with pytest.MonkeyPatch.context() as patch:
        pretrain_here(patch, described.parent)
        return Trained(described, speechprompt("backbone", "pretrain", str(described)))


def test_the_weights_of_the_best_perplexity_are_kept(trained: Trained) -> None:
    done, root = trained.done, trained.root
    assert done.code == 0, done.stderr
    said = re.fullmatch(
        r".*: validation perplexity ([0-9.]+) per unit, best at step ([0-9]+) of ([0-9]+)\n", done.stdout
    )
    assert said
    perplexity, best, last = float(said[1]), int(said[2]), int(said[3])
    curve = _curve(root)
    assert min(curve, key=lambda step: curve[step]) == best
    assert last == max(curve) == best + PATIENCE * EVERY, "patience ended it, before its 400 steps"
    assert curve[best] == pytest.approx(perplexity, abs=0.005)
    assert curve[last] > 1.02 * curve[best], "it overfitted"
    assert _perplexity(root) == pytest.approx(curve[best], rel=1e-5)


def test_a_diverged_training_leaves_no_backbone(
    empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = describe(tmp_path, empty_store)
    pretrain_here(monkeypatch, tmp_path)
    done = speechprompt("backbone", "pretrain", str(described), "--set", "training.learning_rate=1e38")
    assert done.code == 2
    assert done.stderr.splitlines()[-1] == (
        f"error: {described}: training.learning_rate: pretraining diverged at 1e+38; lower it"
    )
    assert not (tmp_path / "backbone").exists()
    assert list(_curve(tmp_path)) == [EVERY], "it ended at once"
    assert _run(tmp_path).info.status == "FAILED"


def test_a_stopped_and_killed_training_goes_on_and_gives_the_backbone_of_one_that_was_not(
    trained: Trained, empty_store: Path, tmp_path: Path
) -> None:
    described = describe(tmp_path, empty_store)

    def noted() -> str:
        found = list((tmp_path / "runs/tiny").glob("pretrain-*/checkpoint_manager_snapshot.json"))
        return found[0].read_text(encoding="utf-8") if found else ""

    with speechprompt_process("backbone", "pretrain", str(described), until=lambda: '"step"' in noted()) as process:
        process.terminate()
        _, said = process.communicate()
    assert process.returncode == INTERRUPTED, said
    assert said.splitlines()[-1] == "interrupted; pretrain again and it goes on from its last evaluation"
    assert "Traceback" not in said

    before = noted()
    with speechprompt_process("backbone", "pretrain", str(described), until=lambda: noted() != before) as process:
        process.kill()
        _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said
    assert not (tmp_path / "backbone").exists()

    again = speechprompt("backbone", "pretrain", str(described))
    assert (again.code, again.stdout) == (0, trained.done.stdout.replace(str(trained.root), str(tmp_path)))
    begun = re.search(r"pretraining: (\d+)/400", again.stderr)
    assert begun
    assert int(begun[1]) > EVERY, "it went on from a checkpoint"
    stored, wanted = (read_backbone(str(root / "backbone")) for root in (tmp_path, trained.root))
    assert stored.lm_fingerprint == wanted.lm_fingerprint
    assert _curve(tmp_path) == _curve(trained.root), "every point once"

    # As after a kill between the last step and storing the backbone: training is found finished, its best kept.
    (tmp_path / "backbone" / BACKBONE_FILE).unlink()
    assert speechprompt("backbone", "pretrain", str(described)).stdout == again.stdout
    assert read_backbone(str(tmp_path / "backbone")).lm_fingerprint == stored.lm_fingerprint
    assert _curve(tmp_path) == _curve(trained.root), "nothing was trained again"


def _run(root: Path) -> Run:
    client = MlflowClient(f"sqlite:///{root}/mlflow.db")
    experiment = client.get_experiment_by_name("tiny-pretraining")
    assert experiment is not None
    [run] = client.search_runs([experiment.experiment_id])
    return run


def _curve(root: Path) -> dict[int, float]:
    """Validation perplexity by step, as MLflow has it."""
    client = MlflowClient(f"sqlite:///{root}/mlflow.db")
    history = client.get_metric_history(_run(root).info.run_id, "pretraining/valid_perplexity")
    assert len({point.step for point in history}) == len(history)
    return {point.step: point.value for point in history}


def _perplexity(root: Path) -> float:
    """Of the stored backbone's LM, on the validation rows that training saw."""
    [units] = (root / "runs" / "tiny" / "units").iterdir()
    stored = read_backbone(str(root / "backbone"))
    lm = GSLM(stored.config)
    lm.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in stored.lm_tensors.items()})
    run = Pretraining(
        lm,
        PretrainSettings(precision="fp32"),
        train=read_sequences(str(units))["train"],
        valid=read_sequences(str(units))["valid"],
        unit_tokens=np.array(stored.unit_tokens),
    )
    return run.validate()["perplexity"]
