"""`dvc repro` with nothing to do, against a repository with one trivial stage; with --full, also from scratch.

    python -m benchmarks.repro [--rounds 7] [--full]

Measures the project in the current folder, which `dvc repro` must have brought up to date. --full clones
its last commit with an empty cache of its own, runs the whole pipeline and prints the seconds of each stage.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tabulate import tabulate

from benchmarks.measure import Ratio, median_seconds, table
from finetune.base.command import Parser, run
from finetune.base.errors import UserError

ROUNDS = 7
MOST_MORE = 1.0  # seconds that a no-op may take above DVC's own
WHOLE = 3 * 60  # seconds that the pipeline may take from nothing, on two cores
DVC = (sys.executable, "-m", "dvc")
STAGE = re.compile(r"Running stage '(.+)'")
QUIET = {"DVC_NO_ANALYTICS": "1", "PYTHONUNBUFFERED": "1"}


def dvc(folder: Path, *arguments: str) -> str:
    """Output of a DVC command; raises UserError when it fails."""
    done = subprocess.run(
        [*DVC, *arguments], cwd=folder, env=os.environ | QUIET, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UserError(f"dvc {' '.join(arguments)} failed in {folder}: {done.stderr.strip()[-300:]}")
    return done.stdout


def trivial_repository(folder: Path):
    """A DVC repository in which one stage that copies a file is up to date."""
    (folder / "dvc.yaml").write_text("stages: {copy: {cmd: cp one two, deps: [one], outs: [two]}}\n")
    (folder / "one").write_text("1\n")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    dvc(folder, "init", "-q")
    dvc(folder, "repro")


def nothing_to_do(rounds: int) -> Ratio:
    """Seconds of a `dvc repro` that finds nothing to do, against DVC's own."""
    if dvc(Path(), "status", "--json").strip() != "{}":
        raise UserError("the pipeline is not up to date; run `dvc repro` first")
    with tempfile.TemporaryDirectory() as name:
        trivial = Path(name)
        trivial_repository(trivial)
        tasks = {"here": lambda: dvc(Path(), "repro"), "trivial": lambda: dvc(trivial, "repro")}
        spent = median_seconds(tasks, rounds)
    target = f"<= {MOST_MORE:g} s more"
    return Ratio("dvc repro with nothing to do beside one trivial stage", spent["here"], spent["trivial"], "s", target)


def stage_seconds(folder: Path) -> dict[str, float]:
    """Wall time of each stage of a `dvc repro`, up to the next one; the time before the first counts as "start"."""
    times = [("start", time.perf_counter())]
    with subprocess.Popen(
        [*DVC, "repro"], cwd=folder, env=os.environ | QUIET, stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if found := STAGE.match(line):
                times.append((found[1], time.perf_counter()))
                print(f"{times[-1][1] - times[0][1]:6.1f} s: {found[1]} starts", file=sys.stderr)
    if process.returncode:
        raise UserError(f"dvc repro failed in {folder}; see its output above")
    ends = [moment for _, moment in times[1:]] + [time.perf_counter()]
    return {name: end - begin for (name, begin), end in zip(times, ends, strict=True)}


def from_nothing() -> str:
    """Table of the seconds of each stage, run in a fresh clone with an empty cache."""
    with tempfile.TemporaryDirectory() as name:
        subprocess.run(["git", "clone", "-q", str(Path.cwd()), name], check=True)
        spent = stage_seconds(Path(name))
    whole = sum(spent.values())
    lines = [[stage, f"{seconds:.1f}", f"{seconds / whole:.0%}"] for stage, seconds in spent.items()]
    return tabulate([*lines, ["whole", f"{whole:.1f}", f"target {WHOLE} s"]], ["stage", "seconds", "share"])


def ratios(rounds: int = ROUNDS) -> list[Ratio]:
    """All measurements but those of --full."""
    return [nothing_to_do(rounds)]


def main():
    parser = Parser(prog="python -m benchmarks.repro", description="Measure `dvc repro`.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--full", action="store_true", help="also the whole pipeline from scratch")
    arguments = parser.parse_args()
    print(table(ratios(arguments.rounds)))
    if arguments.full:
        print("\n" + from_nothing())


if __name__ == "__main__":
    raise SystemExit(run(main))
