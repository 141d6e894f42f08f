"""The ways examples are read. A new one is a subclass of ``Reader`` and one line here."""

from task_specs.readers.corpora.arabic_speech_commands import ArabicSpeechCommands
from task_specs.readers.corpora.esc50 import Esc50
from task_specs.readers.corpora.fluent_speech_commands import FluentSpeechCommands
from task_specs.readers.corpora.google_speech_commands_v1 import GoogleSpeechCommandsV1
from task_specs.readers.corpora.lithuanian_speech_commands import LithuanianSpeechCommands
from task_specs.readers.manifest import Manifest
from task_specs.readers.reader import Reader, Reading, Row

__all__ = ["READERS", "Reader", "Reading", "Row"]

READERS: dict[str, type[Reader]] = {
    "manifest": Manifest,
    "google_speech_commands_v1": GoogleSpeechCommandsV1,
    "lithuanian_speech_commands": LithuanianSpeechCommands,
    "arabic_speech_commands": ArabicSpeechCommands,
    "fluent_speech_commands": FluentSpeechCommands,
    "esc50": Esc50,
}
