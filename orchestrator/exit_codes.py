"""Exit codes of the command line."""

DONE = 0
TASKS_FAILED = 1
RECORDINGS_FAILED = 1
"""Some recordings have no labels; where none has any, it is bad input."""
BAD_INPUT = 2
INTERRUPTED = 3
"""By SIGTERM or Ctrl-C; submitted again, the job goes on."""
TAKEN_OVER = 4
"""Another submission holds the job's lease."""
RAY_FAILED = 5
"""Ray did not start or has ended, or workers died, and nothing else was wrong; run again, it goes on."""
FAULT = 70
"""A fault of this program: ``EX_SOFTWARE`` of sysexits.h."""
HUNG_UP = 129
"""SIGHUP, the terminal was closed, in a command that leaves nothing to go on with; as shells count, 128 and the
signal."""
BROKEN_OFF = 130
"""Ctrl-C, likewise."""
READER_GONE = 141
"""Whoever read the output has stopped, as in ``results job.yaml | head -1``."""
TERMINATED = 143
"""SIGTERM, likewise."""
