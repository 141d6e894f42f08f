"""Coverage-guided fuzzing of everything that reads a file by unknown hands.

    pip install 'speechprompt[fuzz]'
    python -m benchmarks.fuzzing [--seconds 120] [--out DIRECTORY] [TARGET ...]

An input crashes a target if anything but a named error comes out, if it takes longer than 20 s, or more than 2 GiB.
Ends with 1 if one did; the inputs lie in the directory then.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.fuzzing.targets import TARGETS

_SECONDS_AN_INPUT, _MEBIBYTES = 20, 2048
_COVERAGE = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)/")


def main() -> None:
    """Run the targets in turn and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; default: all")
    parser.add_argument("--seconds", type=int, default=120, help="for each target (default: 120)")
    parser.add_argument(
        "--out", type=Path, help="where corpora and crashing inputs stay; default: a temporary directory"
    )
    options = parser.parse_args()
    unknown = [name for name in options.targets if name not in TARGETS]
    if unknown:
        parser.error(f"no target {unknown[0]!r}; there are {', '.join(TARGETS)}")
    out = options.out or Path(tempfile.mkdtemp(prefix="speechprompt-fuzz-"))
    print("| target | what | executions | edges | inputs kept | peak memory | crashes |")
    print("|---|---|---|---|---|---|---|", flush=True)
    crashes = sum(_fuzz(name, options.seconds, out) for name in options.targets or TARGETS)
    sys.exit(1 if crashes else 0)


def _fuzz(name: str, seconds: int, out: Path) -> int:
    corpus, crashing = out / name / "corpus", out / name / "crashing"
    for directory in (corpus, crashing):
        directory.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.fuzzing.run_target", name, str(corpus)]
    command += [f"-max_total_time={seconds}", "-print_final_stats=1", f"-artifact_prefix={crashing}/", "-max_len=20000"]
    command += [f"-timeout={_SECONDS_AN_INPUT}", f"-rss_limit_mb={_MEBIBYTES}", "-close_fd_mask=1", "-seed=1"]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
    (out / name / "log.txt").write_text(done.stderr)
    statistics = dict(re.findall(r"stat::(\w+):\s+(\d+)", done.stderr))
    edges, _, kept = (_COVERAGE.findall(done.stderr) or [("?", "?", "?")])[-1]
    found = max(len(list(crashing.iterdir())), int(done.returncode != 0))
    executions = int(statistics.get("number_of_executed_units", 0))
    print(
        f"| {name} | {TARGETS[name].what} | {executions:,} | {edges} | {kept} "
        f"| {statistics.get('peak_rss_mb', '?')} MiB | {found} |",
        flush=True,
    )
    if found:
        print(f"\n{name}: see {out / name}", file=sys.stderr)
    return found


if __name__ == "__main__":
    main()
