"""Exit codes of the command line."""

DONE = 0
TASKS_FAILED = 1
RECORDINGS_FAILED = 1
"""Some recordings could not be classified; if none could, the code is ``BAD_INPUT``."""
BAD_INPUT = 2
INTERRUPTED = 3
"""SIGTERM or Ctrl-C ended a job, which goes on when it is submitted again."""
TAKEN_OVER = 4
"""Another submission has taken the job's lease."""
RAY_FAILED = 5
"""Ray did not start or has ended, or workers died, and nothing else was wrong; the job goes on when it is run
again."""
FAULT = 70
"""Internal error: ``EX_SOFTWARE`` of sysexits.h."""
HUNG_UP = 129
"""SIGHUP (the terminal was closed) in a command without resumable work: 128 + signal, as in shells."""
BROKEN_OFF = 130
"""Ctrl-C in such a command."""
READER_GONE = 141
"""The reader of the output is gone, as in ``results job.yaml | head -1``."""
TERMINATED = 143
"""SIGTERM in such a command."""
