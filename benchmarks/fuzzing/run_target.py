"""One target under atheris, in a process of its own: libFuzzer ends the process when it is done.

python -m benchmarks.fuzzing.run_target TARGET CORPUS [options of libFuzzer]
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from infra.errors import MissingExtra


def main() -> None:
    """Fuzz until the options say that it is enough."""
    try:
        import atheris
    except ImportError as error:
        raise MissingExtra("atheris", "fuzz") from error
    name, corpus, *options = sys.argv[1:]
    warnings.simplefilter("ignore")
    with atheris.instrument_imports(include=["infra", "task_specs", "workers", "yaml", "json", "pickletools"]):
        from benchmarks.fuzzing.targets import TARGETS, one
    target = TARGETS[name]
    for number, seed in enumerate(target.seeds()):
        (Path(corpus) / f"seed{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], corpus, *options], lambda data: one(target, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
