"""Reads the metrics in metrics/, headline and detail under the same names."""

from pathlib import Path

from finetune.base.errors import UserError
from finetune.base.files import parse_json, read_text
from finetune.base.metric_files import DETAIL, FILES, METRICS, joined

LONGEST = 10_000_000  # characters of a metrics file; with 1,000 labels it has 200,000


def read_metrics(folder: Path = METRICS) -> dict[str, dict]:
    """Metrics by name, headline and detail joined: {"test": {"accuracy": …}, …}; raises UserError for a file that is not JSON."""
    paths = [*sorted(folder.glob("*.json")), *sorted(folder.glob(f"{DETAIL.name}/*/*.json"))]
    return by_name({path: parse_metrics(metrics_text(path), str(path), path) for path in paths})


def metrics_text(path: Path) -> str:
    """Text of a metrics file; raises UserError if it is not UTF-8 or too long."""
    try:
        return read_text(path, LONGEST)
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; {remedy(path)}") from None


def remedy(path: Path) -> str:
    """What to do about a file that cannot be read."""
    return f"bring it back with `git restore {path}` or run `dvc repro`"


def parse_metrics(text: str, source: str, path: Path) -> dict:
    """Content of a metrics file; raises UserError, which names the source, for text that is no JSON object."""
    try:
        content = parse_json(text)
    except ValueError as error:
        raise UserError(f"{source} is not JSON ({error}); {remedy(path)}") from None
    if not isinstance(content, dict):
        found = "a list" if isinstance(content, list) else repr(content)[:40]
        raise UserError(f"{source} must hold an object with scores by name, found {found}; {remedy(path)}")
    return content


def is_detail(path: Path) -> bool:
    """Whether a path has the form metrics/detail/STAGE/NAME.json."""
    return path.parent.parent.name == DETAIL.name


def by_name(contents: dict[Path, dict]) -> dict[str, dict]:
    """Metrics by name from the content of each file: {metrics/test.json: …, metrics/detail/evaluate/test.json: …} -> {"test": …}.

    Older commits have one file for each name. Where a stage now writes detail alone, as for slices, a file of that time
    that was left in metrics/ is out of date.
    """
    metrics = {path.stem: content for path, content in contents.items() if not is_detail(path)}
    for path in filter(is_detail, contents):
        detail_alone = path.stem in FILES and not FILES[path.stem][1]
        metrics[path.stem] = joined({} if detail_alone else metrics.get(path.stem, {}), contents[path])
    return metrics


def look_up(metrics: dict, key: str):
    """Value of a dotted key such as "test.gain.low", or None. A label's name may itself contain dots."""
    if key in metrics:
        return metrics[key]
    for name, value in metrics.items():
        if isinstance(value, dict) and key.startswith(f"{name}."):
            inner = look_up(value, key.removeprefix(f"{name}."))
            if inner is not None:
                return inner
    return None
