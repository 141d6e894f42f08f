"""``python -m orchestrator`` is the ``speechprompt`` command."""

import signal
import sys

from orchestrator.exit_codes import BROKEN_OFF


def main() -> None:
    """Run the command; Ctrl-C ends it without a traceback even while modules are being imported."""
    try:
        from orchestrator.cli import main as command
    except KeyboardInterrupt:
        sys.exit(BROKEN_OFF)
    try:
        command()
    finally:
        # The exit code is known. Python takes a second to end, in which these would put another one in its place.
        for number in (signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    main()
