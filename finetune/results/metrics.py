"""Reads the metrics in metrics/."""

import json
from pathlib import Path

from finetune.base.errors import UserError

METRICS = Path("metrics")


def read_metrics(folder: Path = METRICS) -> dict[str, dict]:
    """Content of every metrics file by its name: {"test": {"accuracy": …}, …}; raises UserError for a file that is not JSON."""
    return {
        path.stem: parse_metrics(path.read_text(encoding="utf-8"), str(path), path)
        for path in sorted(folder.glob("*.json"))
    }


def parse_metrics(text: str, source: str, path: Path):
    """Content of a metrics file; raises UserError, which names the source, for text that is not JSON."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(
            f"{source} is not JSON ({error}); bring it back with `git restore {path}` or run `dvc repro`"
        ) from None


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
