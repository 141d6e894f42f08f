"""Exit codes of the command line."""

DONE = 0
TASKS_FAILED = 1
BAD_INPUT = 2
