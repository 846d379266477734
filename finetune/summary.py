"""The fine-tuned model with its interval and every baseline in one table; whether metrics/ differ from Git, and DVC stored all.

python -m finetune.summary       (the end of make repro)
"""

from tabulate import tabulate

from finetune.base.command import run
from finetune.base.errors import UserError
from finetune.base.terminal import printable, say_lines
from finetune.results.experiments import not_stored
from finetune.results.folds import folds_sentence, why_no_folds
from finetune.results.metrics import read_metrics
from finetune.results.revisions import Revision, git
from finetune.results.score_files import TABLE, check_scores
from finetune.wording.classifiers import baseline_notes, described, gain_sentence, ranked


def summary(test: dict, baseline: dict) -> str:
    """Table of all classifiers, best first, and a sentence about the gain."""
    rows = []
    for name, block in ranked(test, baseline).items():
        low, high = block["interval"].values()
        rows.append(
            [
                name,
                f"{block['accuracy']:.3f}",
                f"{low:.3f} to {high:.3f}",
                f"{block['f1']:.3f}",
                described(name),
            ]
        )
    table = tabulate(rows, ["classifier", "accuracy", "95% interval", "macro F1", ""], disable_numparse=True)
    absent = test.get("absent")
    note = (
        f"\nNo test row has the label {printable(', '.join(absent))}; macro scores average over the other labels."
        if absent
        else ""
    )
    skipped = baseline_notes(baseline, printable)
    return f"{table}\n\n{gain_sentence(test, baseline)}{note}" + (f"\n{skipped}" if skipped else "")


def changed_metrics() -> str | None:
    """One line if tracked files of metrics/ differ from the last commit; None if none does, or without Git."""
    try:
        committed = git("rev-parse", "--verify", "--quiet", "HEAD").returncode == 0
    except FileNotFoundError:
        return None
    if not committed or git("diff", "--quiet", "HEAD", "--", "metrics").returncode != 1:
        return None
    return (
        "metrics/ differ from the last commit: another processor changes last digits, other settings change more; "
        "see `git diff metrics`, then commit them or undo them with `git restore metrics dvc.lock`"
    )


def cross_validation(metrics: dict) -> str | None:
    """The cross-validation in one sentence, or why it says nothing about this run; None where there is none."""
    if "folds" not in metrics:
        return None
    why = why_no_folds(metrics, Revision())
    return f"{why}." if why else folds_sentence(metrics["folds"])


def main():
    metrics = read_metrics()
    missing = [name for name in ("test", "baseline") if name not in metrics]
    if missing:
        raise UserError(f"metrics/{missing[0]}.json is missing; run `make repro` first")
    check_scores(metrics, TABLE)
    say_lines("\n" + summary(metrics["test"], metrics["baseline"]))
    if line := cross_validation(metrics):
        say_lines("\n" + line)
    if line := changed_metrics():
        say_lines("\n" + line)
    if lost := not_stored():
        raise UserError(
            f"DVC's cache lacks {', '.join(lost)}: either DVC could not store it, as its errors above say, or stages ran without "
            "DVC; free some space there if it is full (`dvc cache dir` names it) and run `make repro`, which repeats these stages"
        )


if __name__ == "__main__":
    raise SystemExit(run(main, usage=__doc__))
