"""The metrics that a run left in metrics/, for the commands that read them."""

import json
from pathlib import Path

from finetune.errors import UserError

METRICS = Path("metrics")


def read_metrics(folder: Path = METRICS) -> dict[str, dict]:
    """Content of every metrics file by its name: {"test": {"accuracy": …}, …}; raises UserError for one that is no JSON."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            found[path.stem] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(
                f"{path} is no JSON ({error}); bring it back with `git restore {path}` or run `dvc repro`"
            ) from None
    return found


def look_up(metrics: dict, key: str):
    """Value behind a dotted key such as "test.gain.low", or None. A label's name may hold dots itself."""
    if key in metrics:
        return metrics[key]
    for name, value in metrics.items():
        if isinstance(value, dict) and key.startswith(f"{name}."):
            found = look_up(value, key.removeprefix(f"{name}."))
            if found is not None:
                return found
    return None
