"""The two charts that Optuna draws of a study, its history and the importance of the parameters, from its plain results."""

from itertools import accumulate
from pathlib import Path

import altair as alt

PICTURE = Path("metrics/search.svg")
TICKS = 10
BEST, TRIAL = "#1f6feb", "#8c959f"


def best_so_far(trials: list[dict], metric: str) -> list[tuple[int, float]]:
    """Number of each complete trial with the best score up to it."""
    scored = [(trial["trial"], trial["value"]) for trial in trials if trial["value"] is not None]
    better = min if metric.endswith("loss") else max
    return list(zip((number for number, _ in scored), accumulate((value for _, value in scored), better), strict=True))


def draw(found: dict, picture: Path):
    """Writes the history and the importances of a search as one SVG."""
    trials, metric = found["trials"], found["metric"]
    scored = [{"trial": trial["trial"], "value": trial["value"]} for trial in trials if trial["value"] is not None]
    best = [{"trial": number, "value": value} for number, value in best_so_far(trials, metric)]
    ticks = list(range(0, len(trials), 1 + len(trials) // TICKS))  # Vega would also mark halves of a trial
    x = alt.X("trial:Q", title="trial", axis=alt.Axis(values=ticks, format="d"))
    y = alt.Y("value:Q", title=metric, scale=alt.Scale(zero=False))
    dots = alt.Chart(alt.Data(values=scored)).mark_point(filled=True, color=TRIAL, size=50).encode(x=x, y=y)
    line = alt.Chart(alt.Data(values=best)).mark_line(interpolate="step-after", color=BEST).encode(x=x, y=y)
    history = (line + dots).properties(width=400, height=240, title="Each trial, and the best so far")
    shares = [{"parameter": name, "share": share} for name, share in found["importances"].items()]
    bars = alt.Chart(alt.Data(values=shares)).mark_bar(color=BEST)
    bars = bars.encode(
        x=alt.X("share:Q", title="share of the variance between trials", axis=alt.Axis(format="%")),
        y=alt.Y("parameter:N", title=None, sort=None),
    ).properties(width=240, height=240, title="Importance of each parameter")
    chart = alt.hconcat(history, bars) if shares else history
    picture.parent.mkdir(parents=True, exist_ok=True)
    chart.configure(background="white", padding=16).save(picture)
