"""The gate's results as text for a terminal, and as a Markdown page for a pull request or a job's summary.

Charts are in Mermaid, which GitHub draws itself; a comment cannot embed a picture that is not hosted.
https://mermaid.js.org/syntax/xyChart.html
"""

import csv
import io
import json
from dataclasses import dataclass, field
from pathlib import Path

from tabulate import tabulate

from finetune.base.errors import UserError
from finetune.base.terminal import printable
from finetune.results.metrics import METRICS
from finetune.results.score_files import TABLE, check_scores
from finetune.wording.classifiers import baseline_notes, gain_sentence, ranked, scores_table
from finetune.wording.markdown import code, plain

CURVES = METRICS / "plots/train/plots/metrics"
MOST_ROWS = 200  # of a table on the page; data may have 1,000 labels, and each may have thresholds
LONGEST_PAGE = 60_000  # characters; GitHub takes a comment of 65,536, and the workflow adds its notes
PASSES = ("holds", "within noise", "better", "new")  # verdicts of rows that a long table leaves out first
# Mermaid's own are too pale; these differ clearly from each other and from a light or dark page.
COLOURS = '%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "#1f6feb, #e36209"}}}}%%'


@dataclass(frozen=True)
class Section:
    """A title, a table (`header` and `rows` of text, the last column is a verdict without a heading), then sentences."""

    title: str
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """As plain text, every part of it printable."""
        cells = [[printable(cell) for cell in row] for row in self.rows]
        table = [tabulate(cells, [*map(printable, self.header)], disable_numparse=True)] if self.rows else []
        return "\n\n".join([printable(self.title), *table, *map(printable, self.notes)])

    def markdown(self) -> str:
        """As Markdown. Text from files is set as code, so that it cannot become a link, a mention or a picture."""
        rows = self.rows if len(self.rows) <= MOST_ROWS else sorted(self.rows, key=lambda row: row[-1] in PASSES)
        cells = [[code(cell) for cell in row] for row in rows[:MOST_ROWS]]
        left_out = len(rows) - len(cells)
        more = [f"{left_out} more rows are left out; the command's output has them."] if left_out else []
        header = [plain(cell) for cell in self.header]
        table = [tabulate(cells, header, tablefmt="github", disable_numparse=True)] if self.rows else []
        return "\n\n".join([f"## {plain(self.title)}", *table, *map(plain, [*more, *self.notes])])


def page(verdict: str, sections: list[Section], metrics: dict[str, dict]) -> str:
    """The whole page: verdict, the gate's tables, scores of all classifiers, charts; missing parts are left out.

    So are parts that would make the page longer than a comment may be; a sentence says so.
    """
    parts = [f"# {verdict}", *(section.markdown() for section in sections)]
    if {"test", "baseline"} <= set(metrics):
        parts += ["## Scores on the test rows", *score_parts(metrics)]
    if (CURVES / "validation/loss.tsv").is_file() and (CURVES / "train/loss.tsv").is_file():
        parts.append(loss_chart(series(CURVES / "train/loss.tsv"), series(CURVES / "validation/loss.tsv")))
    fit = [sum(map(len, parts[: place + 1])) <= LONGEST_PAGE for place in range(len(parts))]
    if not all(fit):
        parts = [part for part, fits in zip(parts, fit, strict=True) if fits]
        parts.append("The rest is left out, because a comment has room for no more; the command's output has it.")
    return "\n\n".join(parts) + "\n"


def score_parts(metrics: dict[str, dict]) -> list[str]:
    """Table, sentence and chart of all classifiers, or one line on why the metrics do not give them."""
    try:
        check_scores(metrics, TABLE)
    except UserError as error:
        return [plain(str(error))]
    test, baseline = metrics["test"], metrics["baseline"]
    skipped = baseline_notes(baseline, code)
    return [
        scores_table(test, baseline),
        gain_sentence(test, baseline),
        *([skipped] if skipped else []),
        accuracy_chart(test, baseline),
    ]


def accuracy_chart(test: dict, baseline: dict) -> str:
    """Accuracy of every classifier as bars, best first."""
    blocks = ranked(test, baseline)
    heights = [f"{block['accuracy']:.3f}" for block in blocks.values()]
    return mermaid(
        [
            'title "Accuracy on the test rows"',
            f"x-axis [{', '.join(json.dumps(name) for name in blocks)}]",
            'y-axis "accuracy" 0 --> 1',
            f"bar [{', '.join(heights)}]",
        ],
        horizontal=True,
    )


def loss_chart(train: list[tuple[float, float]], validation: list[tuple[float, float]]) -> str:
    """Loss at every validation, and the mean training loss since the previous one; both are (step, loss) in order."""
    means, before = [], 0.0
    for step, _ in validation:
        since = [loss for at, loss in train if before < at <= step]
        # A validation without a logged step before it repeats the previous mean.
        means.append(sum(since) / len(since) if since else means[-1] if means else train[0][1])
        before = step
    top = max([loss for _, loss in validation] + means)
    return mermaid(
        [
            'title "Loss: training (blue) and validation (orange)"',
            f'x-axis "step" [{", ".join(f"{step:g}" for step, _ in validation)}]',
            f'y-axis "cross-entropy" 0 --> {top * 1.1:.3f}',
            f"line [{', '.join(f'{mean:.4f}' for mean in means)}]",
            f"line [{', '.join(f'{loss:.4f}' for _, loss in validation)}]",
        ]
    )


def series(path: Path) -> list[tuple[float, float]]:
    """(step, value) of one curve that dvclive wrote."""
    rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8")), delimiter="\t"))[1:]
    return [(float(step), float(value)) for step, value in rows]


def mermaid(lines: list[str], horizontal: bool = False) -> str:
    """A chart in a fenced block, as GitHub draws it."""
    kind = "xychart-beta horizontal" if horizontal else "xychart-beta"
    return "\n".join(["```mermaid", COLOURS, kind, *(f"    {line}" for line in lines), "```"])
