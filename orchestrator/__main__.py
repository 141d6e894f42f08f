"""``python -m orchestrator`` is the ``speechprompt`` command."""

import sys

from orchestrator.exit_codes import BROKEN_OFF


def main() -> None:
    """The command; Ctrl-C while it is imported ends it without a traceback too."""
    try:
        from orchestrator.cli import main as command
    except KeyboardInterrupt:
        sys.exit(BROKEN_OFF)
    command()


if __name__ == "__main__":
    main()
