"""Validation scores for a program that watches a training while it runs, such as a search that ends bad ones early."""

import json
import os
from pathlib import Path

SCORES_FILE = "FINETUNE_SCORES_FILE"  # environment variable with the path of the file; nothing is written without it


def append_scores(epoch: int, epochs: int, scores: dict[str, float]):
    """Adds a validation as one line of JSON to the watcher's file, if there is a watcher."""
    if path := os.environ.get(SCORES_FILE):
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"epoch": epoch, "epochs": epochs, "scores": scores}) + "\n")


def read_scores(path: Path) -> list[dict]:
    """Validations so far, each {"epoch": 1, "epochs": 2, "scores": {"accuracy": …}}; a line that is still being written is left out."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
