"""Labels for recordings from published prompts: no Ray, no MLflow, one forward pass for all tasks and slots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from infra import object_storage
from infra.errors import AudioError, BundleError, DatasetError
from task_specs.audio_policy import AudioPolicy
from workers.backbone.directory import Backbone, read_backbone
from workers.backbone.multistream_lm import MultistreamLM
from workers.backbone.sharing import SharedLM
from workers.bundle.format import Bundle, BundleManifest
from workers.bundle.read import read
from workers.bundle.signing import TrustedKey
from workers.fault_text import first_fault
from workers.inference.answer import Answer
from workers.precision import Precision, autocast
from workers.prompting.prompt import KEYS, SEPARATORS, VALUES, verbalizer_name
from workers.prompting.prompted_pass import PromptRows, PromptTensors, prompted_logits
from workers.prompting.verbalizer import class_scores
from workers.speech.audio import decode_fitted
from workers.speech.unit_prosody import UnitProsody, unit_prosody
from workers.speech.units import Units
from workers.speech.utterance import encode_utterances

__all__ = ["Answer", "Classifier"]

ROWS_PER_PASS = 64


@dataclass(frozen=True)
class _LoadedPrompt:
    bundle: Bundle
    policy: AudioPolicy
    tensors: PromptTensors
    matrices: list[Tensor | None]
    tokens: list[Tensor | None]


class Classifier:
    """A frozen backbone and the prompts of one or more tasks.

    Args:
        bundles: prompts, all made for this backbone.
        backbone: tokenizer and unit LM.
        device: where the LM computes.
        precision: of its matrix products.
        abstain_below: probability of the first label below which a slot's answer abstains.

    Raises:
        ValueError: ``abstain_below`` is no probability.
        BundleError: a bundle was made for another backbone, or does not fit the one it names, or two are of one task.
    """

    def __init__(
        self,
        bundles: Sequence[Bundle],
        backbone: Backbone,
        *,
        device: torch.device | str = "cpu",
        precision: Precision = "fp32",
        abstain_below: float = 0.0,
    ) -> None:
        if not 0 <= abstain_below <= 1:
            raise ValueError(f"abstain_below must be a probability, not {abstain_below}")
        self._abstain_below = abstain_below
        self._backbone, self._precision = backbone, precision
        self._device = torch.device(device)
        self._lm = SharedLM.of(backbone).attach(self._device)
        self._unit_tokens = np.array(backbone.unit_tokens, dtype=np.int64)
        self._prompts: dict[str, _LoadedPrompt] = {}
        for bundle in bundles:
            bundle.check_backbone(unit_lm=backbone.lm_fingerprint, tokenizer=backbone.tokenizer_fingerprint)
            config = backbone.config
            bundle.check_sizes(layers=config.layers, dim=config.dim, outputs=config.outputs)
            name = bundle.manifest.task.name
            if name in self._prompts:
                raise BundleError(f"{name}: two bundles of one task; name one of them")
            self._prompts[name] = self._load(bundle)

    @classmethod
    def from_uris(
        cls,
        bundles: Sequence[str],
        backbone: str | None = None,
        *,
        abstain_below: float = 0.0,
        trusted_keys: Sequence[str] = (),
    ) -> Classifier:
        """Read bundles and their backbone.

        Args:
            bundles: URIs of bundles, or of tasks for their latest one.
            backbone: URI of the backbone; ``None``: where the first bundle says it was made.
            abstain_below: probability of the first label below which a slot's answer abstains.
            trusted_keys: files of public keys; if any, every bundle must be signed by one of them.

        Raises:
            UntrustedBundle: a bundle is not signed by a trusted key.
            MissingExtra: there are trusted keys, and ``cryptography`` is not installed.
            BundleError, BackboneError: something is missing, altered, or does not fit.
            StorageError: a place cannot be read.
        """
        trusted = [TrustedKey.read(path) for path in trusted_keys]
        loaded = [read(uri, trusted=trusted) for uri in bundles]
        place = backbone or loaded[0].manifest.provenance.backbone_uri
        if not place:
            raise BundleError(f"{bundles[0]}: does not say where its backbone is; name it with --backbone")
        return cls(loaded, read_backbone(place), abstain_below=abstain_below)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, in the order of the bundles."""
        return tuple(self._prompts)

    def classify_audio(
        self,
        recordings: Sequence[str],
        tasks: Sequence[str | None] | None = None,
        *,
        speakers: Sequence[str | None] | None = None,
    ) -> list[list[Answer]]:
        """Labels of audio files, local or S3; one that occurs for several tasks is read and tokenized once.

        Args:
            recordings: their URIs.
            tasks: which prompt reads each; may be left out if there is one.
            speakers: who speaks each, where known: a multi-stream LM that was trained on F0 by speaker then hears
                that of all recordings of one speaker relative to their common mean.

        Returns:
            For each recording an answer per slot.

        Raises:
            AudioError: a recording cannot be read, or is outside the limits the prompt was tuned with.
            BackboneError: the backbone's tokenizer is not at hand.
            BundleError: there is no such task.
            MissingExtra: the LM reads F0, and its tracker is not installed.
        """
        asked = tasks or [None] * len(recordings)
        # Tasks may have different limits of length, so the same recording may stand for different audio.
        clips = list(zip(recordings, map(self._audio_policy, asked), speakers or [None] * len(recordings), strict=True))
        distinct = list(dict.fromkeys(clips))
        utterances = self._encode([(uri, policy) for uri, policy, _ in distinct])
        by_clip = dict(zip(distinct, utterances, strict=True))
        prosody = None
        if isinstance(self._lm, MultistreamLM):
            heard = unit_prosody(utterances, [speaker for _, _, speaker in distinct], self._lm.config.prosody)
            heard_by_clip = dict(zip(distinct, heard, strict=True))
            prosody = [heard_by_clip[clip].part(*span) for clip in clips for span in by_clip[clip].spans]
        windows = [by_clip[clip].units[slice(*span)] for clip in clips for span in by_clip[clip].spans]
        owners = [number for number, clip in enumerate(clips) for _ in by_clip[clip].spans]
        return self._classify(windows, owners, self._names(asked), prosody)

    def classify_units(
        self,
        units: Sequence[NDArray[np.int16]],
        tasks: Sequence[str | None] | None = None,
        prosody: Sequence[UnitProsody] | None = None,
    ) -> list[list[Answer]]:
        """Labels of unit sequences without adjacent repeats; utterances of different tasks may share the call.

        Args:
            units: one sequence per utterance, int16 [T].
            tasks: which prompt reads each.
            prosody: of each, for a multi-stream LM; without it every unit counts as one frame at mean pitch.

        Raises:
            BundleError: there is no such task.
            DatasetError: a sequence is empty, or holds a number that is no unit of the backbone.
        """
        for sequence in units:
            # A negative number would pass as an index from the end.
            if not len(sequence) or sequence.min() < 0 or sequence.max() >= len(self._unit_tokens):
                raise DatasetError(
                    f"an utterance has no units, or others than the backbone's 0 to {len(self._unit_tokens) - 1}; "
                    "use units of the backbone's own tokenizer"
                )
        return self._classify(units, range(len(units)), self._names(tasks or [None] * len(units)), prosody)

    def _names(self, tasks: Sequence[str | None]) -> list[str]:
        return [self._prompt(task).bundle.manifest.task.name for task in tasks]

    def _classify(
        self,
        units: Sequence[NDArray[np.int16]],
        owners: Sequence[int],
        names: Sequence[str],
        prosody: Sequence[UnitProsody] | None,
    ) -> list[list[Answer]]:
        """Answers of utterances, from class scores that are averaged over the windows of each.

        Args:
            units: of each window.
            owners: number of the utterance that each window is a part of.
            names: task of each utterance.
            prosody: of each window.
        """
        scores: list[list[NDArray[np.float32]]] = [[] for _ in units]
        tasks = [names[owner] for owner in owners]
        # Similar lengths together; an answer does not depend on its neighbours.
        order = sorted(range(len(units)), key=lambda index: len(units[index]))
        for start in range(0, len(order), ROWS_PER_PASS):
            self._score_rows(order[start : start + ROWS_PER_PASS], units, tasks, prosody, scores)
        windows: list[list[int]] = [[] for _ in names]
        for row, owner in enumerate(owners):
            windows[owner].append(row)
        return [
            self._answers(self._prompts[name].bundle.manifest, [scores[row] for row in rows])
            for name, rows in zip(names, windows, strict=True)
        ]

    def _answers(self, manifest: BundleManifest, windows: Sequence[Sequence[NDArray[np.float32]]]) -> list[Answer]:
        """The answer of each slot from the class scores of each window and slot."""
        if not all(np.isfinite(scores).all() for window in windows for scores in window):
            raise BundleError(
                f"the bundle of {manifest.task.name} gives scores that are not finite on its own backbone; "
                "tune and publish the task again"
            )
        return [
            Answer.of(slot, np.mean(scores, axis=0), temperature=temperature, abstain_below=self._abstain_below)
            for slot, temperature, scores in zip(
                manifest.slots, manifest.temperatures, zip(*windows, strict=True), strict=True
            )
        ]

    def _audio_policy(self, task: str | None) -> AudioPolicy:
        return self._prompt(task).policy

    def _encode(self, clips: Sequence[tuple[str, AudioPolicy]]) -> list[Units]:
        tokenizer = self._backbone.tokenizer
        waves = []
        for uri, policy in clips:
            data = object_storage.read_bytes(uri)
            waves.append(decode_fitted(data, name=uri, sample_rate=tokenizer.sample_rate, policy=policy).wave)
        f0 = self._lm.config.prosody.tracker if isinstance(self._lm, MultistreamLM) else None
        utterances = encode_utterances(tokenizer, waves, f0, [policy.window_seconds for _, policy in clips])
        for (uri, _), found in zip(clips, utterances, strict=True):
            if not len(found):
                raise AudioError(f"{uri}: shorter than one frame of the tokenizer; give a longer recording")
        return utterances

    @torch.no_grad()
    def _score_rows(
        self,
        rows: Sequence[int],
        units: Sequence[NDArray[np.int16]],
        names: Sequence[str],
        prosody: Sequence[UnitProsody] | None,
        found: list[list[NDArray[np.float32]]],
    ) -> None:
        """Appends the class scores of each slot of these rows, float32 [classes], to what was found."""
        by_task: dict[str, list[int]] = {}
        for row in rows:
            by_task.setdefault(names[row], []).append(row)
        prompts = [self._prompts[name] for name in by_task]
        groups = [
            PromptRows(
                [self._unit_tokens[units[row]] for row in members],
                len(prompt.bundle.manifest.slots),
                prosody=None if prosody is None else [prosody[row] for row in members],
                separator_prosody=prompt.bundle.manifest.separator_prosody,
            )
            for members, prompt in zip(by_task.values(), prompts, strict=True)
        ]
        with autocast(self._precision, self._device):
            logits = prompted_logits(self._lm, [prompt.tensors for prompt in prompts], groups)
        for members, prompt, scores in zip(by_task.values(), prompts, logits, strict=True):
            for slot in range(len(prompt.bundle.manifest.slots)):
                read = scores[:, slot, : prompt.bundle.manifest.prompt.vocabulary]
                for row, row_scores in zip(members, self._scores(prompt, slot, read), strict=True):
                    found[row].append(row_scores)

    @staticmethod
    def _scores(prompt: _LoadedPrompt, slot: int, logits: Tensor) -> NDArray[np.float32]:
        scores = class_scores(
            logits,
            matrix=prompt.matrices[slot],
            tokens=prompt.tokens[slot],
            special_rows=prompt.bundle.manifest.prompt.special_rows,
        )
        found: NDArray[np.float32] = scores.float().cpu().numpy()
        return found

    def _prompt(self, task: str | None) -> _LoadedPrompt:
        if task is None:
            if len(self._prompts) > 1:
                raise BundleError(f"several tasks are loaded ({', '.join(self._prompts)}); say which one to use")
            return next(iter(self._prompts.values()))
        if task not in self._prompts:
            raise BundleError(f"no prompt of task {task!r} is loaded; there are {', '.join(self._prompts)}")
        return self._prompts[task]

    def _load(self, bundle: Bundle) -> _LoadedPrompt:
        bundle.check()
        tensors = {name: torch.from_numpy(array).to(self._device) for name, array in bundle.tensors.items()}
        with torch.no_grad(), autocast(self._precision, self._device):
            prompt = PromptTensors(tensors[KEYS], tensors[VALUES], tensors[SEPARATORS]).project(self._lm)
        slots = range(len(bundle.manifest.slots))
        units = bundle.manifest.prompt.verbalizer_units
        return _LoadedPrompt(
            bundle=bundle,
            policy=_audio_policy(bundle.manifest),
            tensors=prompt,
            matrices=[tensors.get(verbalizer_name(slot)) for slot in slots],
            tokens=[None if units is None else torch.tensor(units[slot], device=self._device) for slot in slots],
        )


def _audio_policy(manifest: BundleManifest) -> AudioPolicy:
    try:
        return AudioPolicy.model_validate(manifest.preprocessing.get("audio", {}))
    except ValidationError as error:
        field, fault = first_fault(error)
        raise BundleError(
            f"the bundle of {manifest.task.name}: preprocessing.audio.{field}: {fault}; publish the task again"
        ) from error
