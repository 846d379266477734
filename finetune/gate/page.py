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
from finetune.results.metrics import METRICS
from finetune.results.score_files import TABLE, check_scores
from finetune.wording.classifiers import gain_sentence, ranked, scores_table, skipped_sentence
from finetune.wording.markdown import code

CURVES = METRICS / "plots/train/plots/metrics"
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
        """As plain text."""
        table = [tabulate(self.rows, self.header, disable_numparse=True)] if self.rows else []
        return "\n\n".join([f"{self.title}", *table, *self.notes])

    def markdown(self) -> str:
        """As Markdown. Text from files is set as code, so that it cannot become a link, a mention or a picture."""
        cells = [[code(cell) if cell else "" for cell in row] for row in self.rows]
        table = [tabulate(cells, self.header, tablefmt="github", disable_numparse=True)] if self.rows else []
        return "\n\n".join([f"## {self.title}", *table, *map(plain, self.notes)])


def plain(text: str) -> str:
    """A sentence in Markdown without HTML and without a mention that GitHub would notify."""
    return text.replace("<", "&lt;").replace("@", "@\u200b")


def page(verdict: str, sections: list[Section], metrics: dict[str, dict]) -> str:
    """The whole page: verdict, the gate's tables, scores of all classifiers, charts; missing parts are left out."""
    parts = [f"# {verdict}", *(section.markdown() for section in sections)]
    if {"test", "baseline"} <= set(metrics):
        parts += ["## Scores on the test rows", *score_parts(metrics)]
    if (CURVES / "validation/loss.tsv").is_file() and (CURVES / "train/loss.tsv").is_file():
        parts.append(loss_chart(series(CURVES / "train/loss.tsv"), series(CURVES / "validation/loss.tsv")))
    return "\n\n".join(parts) + "\n"


def score_parts(metrics: dict[str, dict]) -> list[str]:
    """Table, sentence and chart of all classifiers, or one line on why the metrics do not give them."""
    try:
        check_scores(metrics, TABLE)
    except UserError as error:
        return [plain(str(error))]
    test, baseline = metrics["test"], metrics["baseline"]
    skipped = skipped_sentence(baseline, code)
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
