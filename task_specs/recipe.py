"""How a prompt is tuned: every number of a run, and the two named recipes."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from task_specs.field_types import MOST_EXAMPLES, Float, Int, Steps
from task_specs.prompt_init import BundleInit, PromptInit
from task_specs.validation import fault

PromptLength = Annotated[Int, Field(ge=0, le=512)]
LearningRate = Annotated[Float, Field(gt=0)]
Dropout = Annotated[Float, Field(ge=0, lt=1)]
Verbalizer = Literal["linear", "frequency", "random"]
Loss = Literal["separators", "paper"]
Read = Literal["separator", "mean", "pooled"]

RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    # The released code of SpeechPrompt v2: its loss, initialisation, optimizer and selection.
    "paper": {
        "prompt_length": 5,
        "read": "separator",
        "prompt_init": "normal",
        "separator_init": "normal",
        "verbalizer_init": "uniform",
        "separator_lr_scale": 1.0,
        "verbalizer_lr_scale": 1.0,
        "loss": "paper",
        "schedule": "constant",
        "warmup_steps": 0,
        "dropout": 0.1,
        "select_on": "loss",
        "adam_beta2": 0.98,
        "label_smoothing": 0.0,
        "patience": 1,
        "restarts": 0,
        "validation_examples": None,
        # The reference stops by patience alone.
        "steps": 100_000,
    },
}


class Recipe(BaseModel):
    """The settings of one lane. ``recipe: default`` and ``recipe: paper`` name the two sets of defaults;
    a mapping with ``name`` and any field below changes single settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["default", "paper"] = "default"

    prompt_length: PromptLength = 3
    """Key and value vectors per layer; 0: only what follows them is tuned."""
    prompt_init: PromptInit = "normal"
    """``normal``: N(0, 1), the scale of a layer-normed state, in whose place a prompt vector stands; ``units``: such
    states, of random units of the training rows; ``{bundle: URI}``: the prompt of another task."""
    separator_init: Literal["eos", "normal"] = "eos"
    """``eos``: the embedding of ``</s>``; ``normal``: N(0, 1), scaled as embeddings are."""
    read: Read | None = None
    """What the verbalizer reads; ``None``: ``pooled``, or ``separator`` for verbalizers and losses that take nothing
    else. ``separator``: the LM's scores at each slot's separator, as the paper; ``mean``: also
    the mean over the utterance of the states that the layers' attention sees, with trained weights over the layers;
    ``pooled``: also their sum weighted by a trained query per slot."""
    verbalizer: Verbalizer = "linear"
    """``linear``: trained; ``frequency`` and ``random``: one fixed unit a class."""
    verbalizer_init: Literal["zero", "uniform"] = "zero"
    """``uniform``: U(-1/sqrt(vocabulary), 1/sqrt(vocabulary)), as the reference."""
    channels: Literal["units", "all"] = "units"
    """Scores of a multi-stream LM that the verbalizer reads: those of the units, or of duration and F0 too."""
    separator_prosody: Literal["last", "none"] = "last"
    """With a multi-stream LM: whether the first separator takes the duration and F0 of the last unit, which are due
    at its place, or none."""

    steps: Steps = Field(2000, ge=1)
    """Optimizer steps at most."""
    batch_size: Int = Field(32, ge=1, le=16_384)
    """Utterances per step, which are in memory together."""
    learning_rate: LearningRate = 5e-3
    """Peak rate of the prompt vectors."""
    separator_lr_scale: Float = Field(1.0, gt=0)
    verbalizer_lr_scale: Float = Field(1.0, gt=0)
    schedule: Literal["linear", "cosine", "constant"] = "cosine"
    """Decay to zero over ``steps`` after the warm-up, or none."""
    warmup_steps: Steps = Field(100, ge=0)
    adam_beta1: Float = Field(0.9, ge=0, lt=1)
    adam_beta2: Float = Field(0.99, ge=0, lt=1)
    clip_norm: Float = Field(1.0, gt=0)
    """Largest gradient norm of a lane, over all that it trains."""
    balance: Literal["none", "sampling", "weights"] = "none"
    """For classes of different sizes. ``sampling``: an epoch draws equally many rows of each class, with several slots
    of each combination of labels; ``weights``: an example's loss counts inversely to the size of its class."""
    dropout: Dropout = 0.0
    """On the prompt vectors (recipe ``paper``: on the class scores too)."""
    read_dropout: Dropout = 0.0
    """On the inputs of the verbalizer."""
    unit_dropout: Dropout = 0.0
    """Share of the units of a training row that are left out, drawn anew at every step."""
    unit_replacement: Dropout = 0.0
    """Share of the units of a training row that become any unit, drawn anew at every step."""
    label_smoothing: Float = Field(0.0, ge=0, lt=1)
    loss: Loss = "separators"
    """``separators``: cross-entropy at the separators, mean over examples. ``paper``: from the separator to
    the end of the row, over all output rows, divided by all tokens of the batch."""

    evaluate_every: Steps | None = Field(None, ge=1)
    """Steps between evaluations; ``None``: a twentieth of ``steps``, in recipe ``paper`` one pass over the data."""
    validation_examples: Int | None = Field(2000, ge=1, le=MOST_EXAMPLES)
    """Validation examples per evaluation while tuning, a seeded draw; the final figures use all of them."""
    patience: Steps = Field(8, ge=1)
    """Evaluations without improvement after which a lane stops."""
    restarts: Int = Field(1, ge=0, le=10)
    """How often a lane begins again, with another draw, that is never better than the most frequent class in a third of
    its steps."""
    select_on: Literal["metric", "loss"] = "metric"
    """What the kept prompt is best at, on the validation split."""

    @model_validator(mode="after")
    def _weighable(self) -> Self:
        if self.balance == "weights" and self.loss == "paper":
            raise fault("balance: weights is not defined for loss: paper", "use balance: sampling, or loss: separators")
        return self

    @model_validator(mode="after")
    def _without_noise_for_paper(self) -> Self:
        if self.loss == "paper":
            for name in ("read_dropout", "unit_dropout", "unit_replacement"):
                if getattr(self, name):
                    raise fault(f"{name} is not defined for loss: paper", "leave it out, or use loss: separators")
        return self

    @model_validator(mode="after")
    def _readable(self) -> Self:
        self.require_readable()
        return self

    def require_readable(self) -> None:
        """Refuse a reading whose features the verbalizer or the loss does not take.

        Raises:
            PydanticCustomError: it has such a reading.
        """
        if self.read in (None, "separator"):
            return
        if self.loss == "paper":
            raise fault(f"read: {self.read} is not defined for loss: paper", "use loss: separators")
        if self.verbalizer != "linear":
            raise fault(
                f"read: {self.read} gives features that verbalizer: {self.verbalizer} cannot read",
                "use verbalizer: linear, or read: separator",
            )

    @classmethod
    def from_spec(cls, value: str | dict[str, Any], *, context: dict[str, Any] | None = None) -> Self:
        """A recipe from what a task spec says: a name, or a mapping of a name and changes.

        Args:
            value: what it says.
            context: of the validation, for paths that are relative to the file.

        Raises:
            pydantic.ValidationError: an unknown name or field, or a value out of range.
        """
        changes = {"name": value} if isinstance(value, str) else dict(value)
        preset = RECIPES.get(changes.get("name", "default"), {}) if isinstance(changes.get("name", ""), str) else {}
        return cls.model_validate({**preset, **changes}, context=context)

    @property
    def reading(self) -> Read:
        """What the verbalizer reads, as resolved."""
        if self.read is not None:
            return self.read
        return "pooled" if self.verbalizer == "linear" and self.loss != "paper" else "separator"

    def identity(self) -> dict[str, Any]:
        """The settings as JSON values, a bundle by its version, wherever it lies."""
        values = self.model_dump(mode="json")
        if isinstance(self.prompt_init, BundleInit):
            values["prompt_init"] = {"bundle": self.prompt_init.version}
        return values
