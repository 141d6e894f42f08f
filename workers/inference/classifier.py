"""Labels for recordings from published prompts: no Ray, no MLflow, one forward pass for all tasks and slots."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, get_args, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infra.errors import BundleError, InputError, SpeechPromptError
from workers.backbone.beside import backbone_beside
from workers.backbone.directory import Backbone, read_backbone
from workers.backbone.sharing import SharedLM
from workers.bundle.format import Bundle, BundleManifest
from workers.bundle.read import read
from workers.bundle.signing import TrustedKey
from workers.evaluation.ensemble import together
from workers.inference.answer import Answer
from workers.inference.arguments import check_probability, device_of, listed, one_each, prosody_of, unit_sequence
from workers.inference.explaining import Window, what_was_heard
from workers.inference.listening import Clip, Spoken, listen
from workers.inference.loaded_prompt import LoadedPrompt
from workers.inference.recording import GivenRecording, Recording, Waveform, place_of, recording
from workers.inference.scoring import Scored, Scorer
from workers.precision import Precision
from workers.speech.unit_prosody import UnitProsody, unit_prosody

__all__ = ["Answer", "Classifier", "Waveform"]


class Classifier:
    """A frozen backbone and the prompts of one or more tasks.

    Examples:
        From where bundles lie, for recordings of any kind::

            classifier = Classifier.from_uris(["s3://prompts/baltic/wake-word"])
            [[word]] = classifier.classify_audio([Path("recording.wav")])
            print(word.label, word.probabilities[0])

            heard = classifier.classify_audio([Waveform(samples, 16_000), "s3://recordings/1.flac"])

        One that cannot be read leaves the others their answers::

            for path, found in zip(paths, classifier.classify_audio(paths, on_error="return")):
                print(path, found if isinstance(found, SpeechPromptError) else found[0].label)

    Args:
        bundles: prompts, all made for this backbone.
        backbone: tokenizer and unit LM.
        device: where the LM computes.
        precision: of its matrix products.
        abstain_below: probability of the first label below which a slot's answer abstains.

    Raises:
        InputError: ``abstain_below`` is no probability, the device cannot be used, or there is no such precision.
        BundleError: there is no bundle, or one was made for another backbone, or does not fit the one it names, or two
            are of one task.
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
        check_probability(abstain_below, "abstain_below")
        if precision not in get_args(Precision):
            raise InputError(f"there is no precision {precision!r}; use one of {', '.join(get_args(Precision))}")
        loaded = listed(bundles, "bundles")
        if not loaded:
            raise BundleError("no bundle is given; name one or more")
        for bundle in loaded:
            if not isinstance(bundle, Bundle):
                kind = type(bundle).__name__
                raise BundleError(f"a {kind} is no bundle that was read; use Classifier.from_uris for their places")
        self._abstain_below = abstain_below
        self._backbone = backbone
        self._device = device_of(device)
        self._lm = SharedLM.of(backbone).attach(self._device)
        unit_tokens = np.array(backbone.unit_tokens, dtype=np.int64)
        self._units = len(unit_tokens)
        self._prompts: dict[str, LoadedPrompt] = {}
        for bundle in loaded:
            bundle.check_backbone(unit_lm=backbone.lm_fingerprint, tokenizer=backbone.tokenizer_fingerprint)
            config = backbone.config
            bundle.check_sizes(layers=config.layers, dim=config.dim, outputs=config.outputs)
            bundle.check_sample_rate(backbone.tokenizer.sample_rate)
            name = bundle.manifest.task.name
            if name in self._prompts:
                raise BundleError(f"{name}: two bundles of one task; name one of them")
            self._prompts[name] = LoadedPrompt.load(bundle, self._lm, precision=precision, device=self._device)
        self._score = Scorer(self._lm, self._prompts, unit_tokens, precision)

    @classmethod
    def from_uris(
        cls,
        bundles: Iterable[str | os.PathLike[str]],
        backbone: str | os.PathLike[str] | None = None,
        *,
        abstain_below: float = 0.0,
        trusted_keys: Iterable[str | os.PathLike[str]] = (),
    ) -> Classifier:
        """Read bundles and their backbone.

        Args:
            bundles: paths or URIs of bundles, or of tasks for their latest one.
            backbone: path or URI of the backbone; ``None``: the one with the right fingerprints beside the first
                bundle, as ``bundle pull --with-backbone`` puts it, or else where that bundle says it was made.
            abstain_below: probability of the first label below which a slot's answer abstains.
            trusted_keys: files of public keys; if any, every bundle must be signed by one of them.

        Raises:
            UntrustedBundle: a bundle is not signed by a trusted key.
            MissingExtra: there are trusted keys, and ``cryptography`` is not installed.
            InputError: something is no list of paths, or ``abstain_below`` no probability.
            BundleError, BackboneError: something is missing, altered, or does not fit.
            StorageError: a place cannot be read.
        """
        check_probability(abstain_below, "abstain_below")
        places = [_place(uri, "bundle") for uri in listed(bundles, "bundles")]
        if not places:
            raise BundleError("no bundle is given; name one or more")
        named = _place(backbone, "backbone") if backbone else ""
        trusted = [TrustedKey.read(_place(path, "key")) for path in listed(trusted_keys, "trusted_keys")]
        loaded = [read(uri, trusted=trusted) for uri in places]
        theirs = loaded[0].manifest.backbone
        place = (
            named
            or backbone_beside(places[0], unit_lm=theirs.unit_lm, tokenizer=theirs.tokenizer)
            or loaded[0].manifest.provenance.backbone_uri
        )
        if not place:
            raise BundleError(f"{places[0]}: does not say where its backbone is; name it with --backbone")
        return cls(loaded, read_backbone(place), abstain_below=abstain_below)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, in the order of the bundles."""
        return tuple(self._prompts)

    @overload
    def classify_audio(
        self,
        recordings: Iterable[GivenRecording],
        tasks: Iterable[str | None] | None = None,
        *,
        speakers: Iterable[str | None] | None = None,
        on_error: Literal["raise"] = "raise",
        explain: bool = False,
    ) -> list[list[Answer]]: ...

    @overload
    def classify_audio(
        self,
        recordings: Iterable[GivenRecording],
        tasks: Iterable[str | None] | None = None,
        *,
        speakers: Iterable[str | None] | None = None,
        on_error: Literal["return"],
        explain: bool = False,
    ) -> list[list[Answer] | SpeechPromptError]: ...

    def classify_audio(
        self,
        recordings: Iterable[GivenRecording],
        tasks: Iterable[str | None] | None = None,
        *,
        speakers: Iterable[str | None] | None = None,
        on_error: Literal["raise", "return"] = "raise",
        explain: bool = False,
    ) -> list[list[Answer]] | list[list[Answer] | SpeechPromptError]:
        """Labels of recordings; one that occurs for several tasks is read and tokenized once.

        Args:
            recordings: each a path or URI, local or S3, the bytes of an audio file, a file open for reading bytes, or
                a ``Waveform``.
            tasks: which prompt reads each; may be left out if there is one.
            speakers: who speaks each, where known: a multi-stream LM that was trained on F0 by speaker then hears
                that of all recordings of one speaker relative to their common mean.
            on_error: ``raise`` stops at the first recording that cannot be used; ``return`` gives its error in the
                place of its answers, and the others theirs.
            explain: whether answers say what was heard, unit by unit (``Answer.heard``); prompts of reading
                ``separator`` hear nothing along the recording.

        Returns:
            For each recording an answer per slot.

        Raises:
            AudioError: a recording cannot be read, or is outside the limits the prompt was tuned with.
            StorageError: its place cannot be read.
            BackboneError: the backbone's tokenizer is not at hand.
            BundleError: there is no such task.
            InputError: the arguments are no lists, or lists of unequal length.
            MissingExtra: the LM reads F0, and its tracker is not installed.
        """
        if on_error not in ("raise", "return"):
            raise InputError(f"there is no on_error {on_error!r}; use raise or return")
        given, stop = listed(recordings, "recordings"), on_error == "raise"
        names = self._names(one_each(tasks, "tasks", len(given), "recordings"))
        spoken = one_each(speakers, "speakers", len(given), "recordings")
        # Tasks may have different limits of length, so the same recording may stand for different audio.
        clips: list[Clip | SpeechPromptError] = []
        known: dict[Hashable, Recording] = {}
        for number, (one, name, speaker) in enumerate(zip(given, names, spoken, strict=True)):
            try:
                found = recording(one, number)
                clips.append(Clip(known.setdefault(found.key, found), self._prompts[name].inference.audio, speaker))
            except SpeechPromptError as error:
                if stop:
                    raise
                clips.append(error)
        distinct = list(dict.fromkeys(clip for clip in clips if isinstance(clip, Clip)))
        settings = self._lm.config.prosody_settings
        f0 = None if settings is None else settings.tracker
        units = dict(zip(distinct, listen(distinct, self._backbone.tokenizer, f0, stop_at_error=stop), strict=True))
        results = [units[clip] if isinstance(clip, Clip) else clip for clip in clips]
        heard = {clip: of for clip, of in units.items() if isinstance(of, Spoken)}
        good = [
            (clip, name) for clip, name in zip(clips, names, strict=True) if isinstance(clip, Clip) and clip in heard
        ]
        answers = iter(self._read([clip for clip, _ in good], [name for _, name in good], heard, explain=explain))
        return [result if isinstance(result, SpeechPromptError) else next(answers) for result in results]

    def classify_units(
        self,
        units: Iterable[Sequence[int] | NDArray[np.integer] | Tensor],
        tasks: Iterable[str | None] | None = None,
        prosody: Iterable[UnitProsody] | None = None,
        *,
        explain: bool = False,
    ) -> list[list[Answer]]:
        """Labels of unit sequences without adjacent repeats; utterances of different tasks may share the call.

        Args:
            units: one sequence per utterance, a list, array or tensor of whole numbers [T].
            tasks: which prompt reads each; may be left out if there is one.
            prosody: of each, for a multi-stream LM; without it every unit counts as one frame at mean pitch.
            explain: whether answers say what was heard, unit by unit.

        Raises:
            BundleError: there is no such task.
            DatasetError: a sequence is empty, or holds what is no unit of the backbone, or prosody of another.
            InputError: the arguments are no lists, or lists of unequal length.
        """
        rows = [unit_sequence(row, number, units=self._units) for number, row in enumerate(listed(units, "units"))]
        names = self._names(one_each(tasks, "tasks", len(rows), "utterances"))
        windows = [Window(row) for row in rows]
        return self._classify(windows, range(len(rows)), names, prosody_of(prosody, rows), explain=explain)

    def _read(
        self, clips: Sequence[Clip], names: Sequence[str], heard: Mapping[Clip, Spoken], *, explain: bool
    ) -> list[list[Answer]]:
        """Answers of clips by their units, all windows in one batch."""
        prosody = None
        if (settings := self._lm.config.prosody_settings) is not None:
            speakers = [clip.speaker for clip in heard]
            normalised = unit_prosody([spoken.units for spoken in heard.values()], speakers, settings)
            by_clip = dict(zip(heard, normalised, strict=True))
            prosody = [by_clip[clip].part(*span) for clip in clips for span in heard[clip].units.spans]
        windows = [window for clip in clips for window in heard[clip].windows]
        owners = [number for number, clip in enumerate(clips) for _ in heard[clip].units.spans]
        return self._classify(windows, owners, names, prosody, explain=explain)

    def _names(self, tasks: Sequence[str | None]) -> list[str]:
        return [self._prompt(task).manifest.task.name for task in tasks]

    def _classify(
        self,
        windows: Sequence[Window],
        owners: Sequence[int],
        names: Sequence[str],
        prosody: Sequence[UnitProsody] | None,
        *,
        explain: bool,
    ) -> list[list[Answer]]:
        """Answers of utterances, from class scores that are averaged over the windows of each.

        Args:
            windows: of all utterances.
            owners: number of the utterance that each window is a part of.
            names: task of each utterance.
            prosody: of each window.
            explain: whether answers say what was heard.
        """
        tasks = [names[owner] for owner in owners]
        scored = self._score([window.units for window in windows], tasks, prosody, explain=explain)
        rows: list[list[int]] = [[] for _ in names]
        for row, owner in enumerate(owners):
            rows[owner].append(row)
        return [
            self._answers(self._prompts[name].manifest, [(windows[row], scored[row]) for row in own])
            for name, own in zip(names, rows, strict=True)
        ]

    def _answers(self, manifest: BundleManifest, heard: Sequence[tuple[Window, Scored]]) -> list[Answer]:
        """The answer of each slot from what was said of each window."""
        if not all(np.isfinite(scores).all() for _, scored in heard for scores in scored.scores):
            raise BundleError(
                f"the bundle of {manifest.task.name} gives scores that are not finite on its own backbone; "
                "tune and publish the task again"
            )
        answers = []
        for place, (slot, temperature) in enumerate(zip(manifest.slots, manifest.temperatures, strict=True)):
            mean = np.mean([scored.scores[place] for _, scored in heard], axis=0)
            answer = Answer.of(
                slot, together(mean[:, None])[0], temperature=temperature, abstain_below=self._abstain_below
            )
            parts = [scored.parts[place] for _, scored in heard if scored.parts]
            if parts:
                label = slot.labels.index(answer.labels[0])
                said = what_was_heard([window for window, _ in heard], parts, label, temperature=temperature)
                answer = replace(answer, heard=said)
            answers.append(answer)
        return answers

    def _prompt(self, task: str | None) -> LoadedPrompt:
        if task is None:
            if len(self._prompts) > 1:
                raise BundleError(f"several tasks are loaded ({', '.join(self._prompts)}); say which one to use")
            return next(iter(self._prompts.values()))
        if task not in self._prompts:
            raise BundleError(f"no prompt of task {task!r} is loaded; there are {', '.join(self._prompts)}")
        return self._prompts[task]


def _place(given: object, what: str) -> str:
    """The absolute form of a path or URI.

    Raises:
        InputError: it is neither.
        StorageError: it cannot be a path.
    """
    if not isinstance(given, str | os.PathLike):
        raise InputError(f"a {what} is named by a path or URI, not by a {type(given).__name__}; give text or a Path")
    return place_of(given)
