"""Draws the picture in README from the record of the default run.

    python -m docs.picture          (make readme)

reads   docs/default_run/metrics/
writes  docs/scores.svg
"""

from pathlib import Path

import altair as alt
import pandas as pd

from finetune.base.files import read_json

METRICS = Path("docs/default_run/metrics")
PICTURE = Path("docs/scores.svg")
INK, FAINT, OURS, THEIRS = "#24292f", "#d8dee4", "#1f6feb", "#afb8c1"
FINE_TUNED = "fine-tuned"
NAMES = {
    FINE_TUNED: "fine-tuned",
    "tfidf": "TF-IDF + logistic regression",
    "embedding": "frozen encoder + logistic regression",
    "zero_shot": "zero-shot, by prompts",
    "few_shot": "few-shot, on the frozen encoder",
    "majority": "most frequent label",
    "untrained": "encoder with an untrained head",
}
PERCENT = {"format": "%", "values": [0, 0.25, 0.5, 0.75, 1], "labelFlush": True}


def plot_data(stage: str, name: str) -> pd.DataFrame:
    """Data of one plot, as the stage wrote it."""
    return pd.read_csv(METRICS / "plots" / stage / f"{name}.csv")


def accuracy_chart() -> alt.LayerChart:
    """Accuracy of every classifier on the test rows as a bar, with its interval as a line across the bar's end."""
    rows = pd.concat([plot_data("evaluate", "accuracy"), plot_data("baseline_eval", "accuracy")])
    rows["name"] = rows["classifier"].replace(NAMES)
    rows["shown"] = [f"{100 * value:.1f}%" for value in rows["accuracy"]]
    order = rows.sort_values("accuracy", ascending=False, kind="stable")["name"].tolist()
    names = alt.Y("name:N", sort=order, title=None, axis=alt.Axis(labelLimit=0, labelPadding=8, grid=False))
    chart = alt.Chart(rows).encode(y=names)
    bars = chart.mark_bar(height=20, cornerRadiusEnd=2).encode(
        x=alt.X("accuracy:Q", title="accuracy", axis=alt.Axis(**PERCENT), scale=alt.Scale(domain=[0, 1])),
        color=alt.condition(alt.datum.classifier == FINE_TUNED, alt.value(OURS), alt.value(THEIRS)),
    )
    whiskers = chart.mark_rule(strokeWidth=2, color=INK).encode(x="low:Q", x2="high:Q")
    numbers = chart.mark_text(align="left", dx=6, color=INK, fontSize=12).encode(x="high:Q", text="shown:N")
    return (bars + whiskers + numbers).properties(width=330, height=240, title="Test accuracy, with 95% intervals")


def roc_chart() -> alt.Chart:
    """ROC curves of the fine-tuned model and of the best baseline."""
    best = NAMES[read_json(METRICS / "baseline.json")["best"]]
    curves = [
        plot_data(stage, "roc").rename(columns={column: "true_positive_rate"}).assign(classifier=name)
        for stage, column, name in (("baseline_eval", "baseline", best), ("evaluate", FINE_TUNED, FINE_TUNED))
    ]
    colour = alt.Color(
        "classifier:N",
        scale=alt.Scale(domain=[FINE_TUNED, best], range=[OURS, THEIRS]),
        legend=alt.Legend(
            title=None,
            orient="bottom-right",
            symbolType="stroke",
            symbolStrokeWidth=3,
            fillColor="white",
            padding=6,
            offset=8,
        ),
    )
    chart = alt.Chart(pd.concat(curves)).mark_line(strokeWidth=2.5, clip=True)
    return chart.encode(
        x=alt.X("false_positive_rate:Q", title="false positive rate", axis=alt.Axis(**PERCENT)),
        y=alt.Y("true_positive_rate:Q", title="true positive rate", axis=alt.Axis(**PERCENT)),
        color=colour,
    ).properties(width=260, height=240, title="ROC curve")


def picture() -> alt.HConcatChart:
    """Both charts side by side, on a white background so that they are readable in light and dark mode."""
    axes = alt.AxisConfig(
        labelColor=INK,
        titleColor=INK,
        labelFontSize=12,
        titleFontSize=12,
        titleFontWeight="normal",
        gridColor=FAINT,
        ticks=False,
        domain=False,
        labelPadding=6,
        titlePadding=8,
    )
    # Each chart has its own legend; a shared one would cover the names on the left.
    charts = alt.hconcat(accuracy_chart(), roc_chart(), spacing=40).resolve_scale(color="independent")
    return charts.configure(
        font="Helvetica, Arial, sans-serif",
        background="white",
        padding=18,
        title=alt.TitleConfig(anchor="start", frame="group", fontSize=14, color=INK, offset=14),
        axis=axes,
        legend=alt.LegendConfig(labelFontSize=12, labelColor=INK, labelLimit=0),
        view=alt.ViewConfig(stroke=None),
    )


def main():
    picture().save(PICTURE)
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
