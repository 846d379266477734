"""How the score grows with the number of training rows, and whether more rows would still help.

python -m finetune.learning_curve       (make learning-curve)

Each size is a DVC experiment, run outside the workspace; an existing one is not run again, so the command can
be stopped and restarted. Writes metrics/learning_curve.csv and metrics/learning_curve.svg.
"""

from pathlib import Path

from finetune.base.command import run
from finetune.base.errors import UserError
from finetune.base.files import write_csv
from finetune.base.params import PARAMS, read_params
from finetune.base.terminal import say
from finetune.base.yaml_file import parse_yaml
from finetune.results.experiments import experiment, settings_digest
from finetune.results.metrics import read_metrics

SIZES = (64, 250, 500, 1000, 2000, 4000)
CURVE = Path("metrics/learning_curve.csv")
PICTURE = Path("metrics/learning_curve.svg")
COLUMNS = ["rows", "classifier", "accuracy", "low", "high", "settings"]


def sizes(rows: int) -> list[int | None]:
    """Numbers of training rows to try, None for all of them."""
    return [size for size in SIZES if size < rows] + [None]


def experiment_name(size: int | None) -> str:
    """Name made of the size and a hash of all other settings."""
    return f"rows-{size or 'all'}-{settings_digest(parse_yaml(PARAMS), without=('split.train_rows',))}"


def points(metrics: dict[str, dict]) -> list[list]:
    """Rows of the curve from the metrics of one experiment: the fine-tuned model and the best baseline."""
    rows = metrics["data"]["rows"]["train"]
    best = metrics["baseline"]["best"]
    blocks = {"fine-tuned": metrics["test"], "best baseline": metrics["baseline"][best]}
    return [[rows, name, block["accuracy"], *block["interval"].values()] for name, block in blocks.items()]


def draw(curve: Path, picture: Path):
    """The curve with its intervals as SVG."""
    import altair as alt
    import pandas as pd

    data = pd.read_csv(curve)
    chart = alt.Chart(data).encode(
        x=alt.X("rows:Q", title="training rows", scale=alt.Scale(type="log", nice=False)),
        color=alt.Color("classifier:N", title=None, scale=alt.Scale(range=["#8c959f", "#1f6feb"])),
    )
    scale = alt.Scale(zero=False)
    band = chart.mark_area(opacity=0.2).encode(
        y=alt.Y("low:Q", title="test accuracy, with 95% interval", scale=scale), y2="high:Q"
    )
    line = chart.mark_line(point=True).encode(y=alt.Y("accuracy:Q", scale=scale))
    (band + line).properties(width=480, height=300).configure(background="white", padding=16).save(picture)


def main():
    split = read_params("split")
    if "data" not in (metrics := read_metrics()):
        raise UserError("metrics/data.json is missing; run `make repro` first")
    if split.train_rows is not None:
        raise UserError(f"split.train_rows must be null for a learning curve, found {split.train_rows}")
    rows, digest = [], settings_digest(parse_yaml(PARAMS))
    for size in sizes(metrics["data"]["rows"]["train"]):
        measured = experiment(experiment_name(size), {"split.train_rows": size}).metrics()
        rows += [[*point, digest] for point in points(measured)]
        write_csv(CURVE, COLUMNS, rows)
        say(f"{rows[-2][0]} rows: accuracy {rows[-2][2]:.3f}, best baseline {rows[-1][2]:.3f}")
    draw(CURVE, PICTURE)
    say(f"learning curve: {CURVE} and {PICTURE}")


if __name__ == "__main__":
    raise SystemExit(run(main, usage=__doc__))
