"""Stop a model that is not good enough, or worse than the one it would replace.

    python -m finetune.gate                     (make gate) metrics/ against `gate:` in params.yaml
    python -m finetune.gate --against main      (make gate AGAINST=main) the same, and no metric significantly worse than
                                                at the commit that HEAD shares with main (finetune/gate/noise.py)
    python -m finetune.gate --markdown FILE     the same as a Markdown page with scores and charts

Exit status: 0 every metric holds; 1 one falls short; 2 cannot tell: one is missing, not a number or unreadable.
"""

from itertools import chain
from pathlib import Path

from finetune.base.command import Parser, run
from finetune.base.errors import UserError
from finetune.base.files import replace_text
from finetune.base.params import read_params
from finetune.base.terminal import say_lines
from finetune.gate.against import compare_with
from finetune.gate.page import Section, page
from finetune.gate.thresholds import CANNOT_TELL, HOLDS, check_thresholds
from finetune.results.metrics import read_metrics
from finetune.results.revisions import typed
from finetune.results.score_files import of_shipped_model

VERDICTS = ("The gate holds", "The gate stops this: it falls short", "The gate could not tell")


def main() -> int:
    parser = Parser(prog="python -m finetune.gate", description="Stop a model that is not good enough.")
    parser.add_argument("--against", metavar="REVISION", help="also compare with the merge base of HEAD and this")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write the tables, scores and charts there too")
    arguments = parser.parse_args()
    if arguments.markdown and not arguments.markdown.parent.is_dir():
        raise UserError(
            f"there is no folder {arguments.markdown.parent} to write {arguments.markdown.name} into; create it"
        )
    worst, sections, metrics = HOLDS, [], {}
    problem = "the gate stopped before its end; its output says why"
    try:
        gate, metrics = read_params("gate"), gated_metrics()
        parts = [check_thresholds(metrics, gate)]
        if arguments.against is not None:
            parts = chain(parts, compare_with(typed(arguments.against)))
        for status, section in parts:
            worst = max(worst, status)
            say_lines("\n" * bool(sections) + section.text())
            sections.append(section)
        problem = None
    except UserError as error:
        problem = str(error)
        raise
    finally:
        if problem:
            worst = CANNOT_TELL
            sections.append(Section("Error", notes=[problem]))
        if arguments.markdown:
            replace_text(arguments.markdown, page(VERDICTS[worst], sections, metrics))
    return worst


def gated_metrics() -> dict[str, dict]:
    """The workspace's metrics, the scores those of the shipped model; raises UserError for one that is no JSON object."""
    metrics = read_metrics()
    return metrics | {"test": of_shipped_model(metrics["test"])} if "test" in metrics else metrics


if __name__ == "__main__":
    raise SystemExit(run(main, mistake=CANNOT_TELL))
