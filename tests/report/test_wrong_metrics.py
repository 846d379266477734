"""No wrong value in a metrics file ends the report, the summary or the gate's page in anything but a page or one line."""

import json

import pytest
from jinja2 import Environment

from finetune import summary
from finetune.base.errors import UserError
from finetune.gate.page import page
from finetune.report import charts, origin, quality
from finetune.report.page import content, rendered
from finetune.results.metrics import read_metrics
from finetune.results.revisions import Revision
from tests.report.test_report import write_metrics

# ... leaves the key out; half a character, an escape sequence, and more than a float holds come from a hostile file
JUNK = (..., "x", [1], {"x": 1}, {"\ud800": 1}, float("nan"), -1, 10**400, "\ud800", "\x1b[2J")


def keys(value, path: tuple = ()) -> list[tuple]:
    """Every path in nested objects; of an object's entries that are alike, the first."""
    if not isinstance(value, dict):
        return [path]
    found, shapes = [path] if path else [], []
    for name, inner in value.items():
        shape = sorted(inner) if isinstance(inner, dict) else None
        if shape is None or shape not in shapes:
            found += keys(inner, (*path, name))
            shapes.append(shape)
    return found


def put(metrics: dict, path: tuple, value) -> dict:
    """The metrics with one value replaced."""
    metrics = json.loads(json.dumps(metrics))
    inner = metrics
    for name in path[:-1]:
        inner = inner[name]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return metrics


def ends_well(command) -> bool:
    """Whether a command ends, or raises a UserError of one line."""
    try:
        command()
    except UserError as error:
        return "\n" not in str(error)
    return True


def compiled_once(compile_template):
    """`Environment.from_string` that keeps what it compiled."""
    compiled = {}

    def from_string(environment: Environment, source: str):
        if source not in compiled:
            compiled[source] = compile_template(environment, source)
        return compiled[source]

    return from_string


def built_once(build):
    """`charts.forest` or `charts.curves` that builds a chart once for all reports that show the same points in it."""
    known = {}

    def built(points: list | dict, *arguments, **options):
        if isinstance(points, dict):  # the points of each line may come from a generator
            points = {name: list(line) for name, line in points.items()}
        shown = repr((points, arguments, options))
        if shown not in known:
            known[shown] = build(points, *arguments, **options)
        return known[shown]

    return built


@pytest.mark.parametrize(
    "name", ["test", "baseline", "data", "train", "slices", "behaviour", "checks", "seeds", "folds"]
)
def test_every_wrong_value_of_every_key(workdir, monkeypatch, name):
    """What takes most of a report's time is left out: charts are not drawn, Git and DVC are not asked."""
    monkeypatch.setattr(charts, "drawn", lambda *_: "")
    monkeypatch.setattr(origin, "git_output", lambda *_: "")
    monkeypatch.setattr(summary, "changed_metrics", lambda: None)
    monkeypatch.setattr(summary, "not_stored", list)
    monkeypatch.setattr(quality, "mistakes", lambda *_: {"missing": "left out"})
    for kind in ("forest", "curves"):
        monkeypatch.setattr(charts, kind, built_once(getattr(charts, kind)))
    monkeypatch.setattr(Environment, "from_string", compiled_once(Environment.from_string))
    write_metrics(workdir)
    params = Revision().params()
    monkeypatch.setattr(Revision, "params", lambda _: params)  # parsing the same file takes half of a report's time
    whole = read_metrics()[name]
    for file in (workdir / "metrics").glob(f"**/{name}.json"):
        file.unlink()
    file = workdir / f"metrics/detail/evaluate/{name}.json"
    if name not in ("slices", "behaviour", "checks"):
        file = workdir / f"metrics/{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    broken = []
    for path in keys(whole):
        for value in JUNK:
            file.write_text(json.dumps(put(whole, path, value)), encoding="utf-8")
            commands = {
                "report": lambda: rendered(content()),
                "summary": summary.main,
                "gate": lambda: page("The gate holds", [], read_metrics()),
            }
            for command, run in commands.items():
                try:
                    assert ends_well(run)
                except Exception as error:
                    broken.append((command, ".".join(path), str(value)[:20], repr(error)[:80]))
    assert not broken, broken
