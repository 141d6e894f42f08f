"""``python -m orchestrator`` is the ``speechprompt`` command."""

import sys

from orchestrator.exit_codes import BROKEN_OFF


def main() -> None:
    """Run the command; Ctrl-C ends it without a traceback even while modules are being imported."""
    try:
        from orchestrator.cli import main as command
    except KeyboardInterrupt:
        sys.exit(BROKEN_OFF)
    command()


if __name__ == "__main__":
    main()
