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
