"""Reads the metrics in metrics/, headline and detail under the same names."""

import json
from pathlib import Path

from finetune.base.errors import UserError
from finetune.base.metric_files import DETAIL, FILES, METRICS, joined


def read_metrics(folder: Path = METRICS) -> dict[str, dict]:
    """Metrics by name, headline and detail joined: {"test": {"accuracy": …}, …}; raises UserError for a file that is not JSON."""
    paths = [*sorted(folder.glob("*.json")), *sorted(folder.glob(f"{DETAIL.name}/*/*.json"))]
    return by_name({path: parse_metrics(path.read_text(encoding="utf-8"), str(path), path) for path in paths})


def parse_metrics(text: str, source: str, path: Path) -> dict:
    """Content of a metrics file; raises UserError, which names the source, for text that is no JSON object."""
    remedy = f"bring it back with `git restore {path}` or run `dvc repro`"
    try:
        content = json.loads(text)
    except ValueError as error:
        raise UserError(f"{source} is not JSON ({error}); {remedy}") from None
    if not isinstance(content, dict):
        found = "a list" if isinstance(content, list) else repr(content)[:40]
        raise UserError(f"{source} must hold an object with scores by name, found {found}; {remedy}")
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
