"""Dataset readers. A new one is a subclass of ``Reader`` and one line here."""

from task_specs.readers.corpora.accentdb import AccentDb
from task_specs.readers.corpora.arabic_speech_commands import ArabicSpeechCommands
from task_specs.readers.corpora.asvspoof2019_la import AsvSpoof2019La
from task_specs.readers.corpora.dysarthric_mandarin_speech_commands import DysarthricMandarinSpeechCommands
from task_specs.readers.corpora.easycall import EasyCall
from task_specs.readers.corpora.esc50 import Esc50
from task_specs.readers.corpora.fluent_speech_commands import FluentSpeechCommands
from task_specs.readers.corpora.google_speech_commands_v1 import GoogleSpeechCommandsV1
from task_specs.readers.corpora.grabo import Grabo
from task_specs.readers.corpora.iemocap import Iemocap
from task_specs.readers.corpora.lithuanian_speech_commands import LithuanianSpeechCommands
from task_specs.readers.corpora.mustard import Mustard
from task_specs.readers.corpora.mustard_plus_plus import MustardPlusPlus
from task_specs.readers.corpora.voice_activity import VoiceActivity
from task_specs.readers.corpora.voxceleb1 import VoxCeleb1Gender, VoxCeleb1Speaker
from task_specs.readers.corpora.voxforge import VoxForge
from task_specs.readers.folders import Folders
from task_specs.readers.manifest import Manifest
from task_specs.readers.reader import Reader, Reading, Row

__all__ = ["READERS", "Reader", "Reading", "Row"]

READERS: dict[str, type[Reader]] = {
    "manifest": Manifest,
    "folders": Folders,
    "google_speech_commands_v1": GoogleSpeechCommandsV1,
    "grabo": Grabo,
    "lithuanian_speech_commands": LithuanianSpeechCommands,
    "arabic_speech_commands": ArabicSpeechCommands,
    "dysarthric_mandarin_speech_commands": DysarthricMandarinSpeechCommands,
    "fluent_speech_commands": FluentSpeechCommands,
    "voxforge": VoxForge,
    "asvspoof2019_la": AsvSpoof2019La,
    "iemocap": Iemocap,
    "easycall": EasyCall,
    "accentdb": AccentDb,
    "mustard": Mustard,
    "mustard_plus_plus": MustardPlusPlus,
    "voxceleb1_gender": VoxCeleb1Gender,
    "voxceleb1_speaker": VoxCeleb1Speaker,
    "voice_activity": VoiceActivity,
    "esc50": Esc50,
}
