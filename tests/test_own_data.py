"""README's settings for own data, used as a stranger would use them: a CSV of support tickets from a spreadsheet."""

import csv
import itertools
import json
import random
import re
import shutil
import subprocess
from pathlib import Path

import yaml

from finetune.base.yaml_file import parse_yaml, parse_yaml_text
from finetune.rows.stored import label_names, read_rows
from stages import download, tokenize
from tests.conftest import ROOT
from tests.support.tiny import FILLER

QUEUES = ("Billing", "Sales", "Technical Support")
SPLITS = ("train", "validation", "test")


def readme_settings() -> dict:
    """The block of settings under "Your own data"."""
    block = re.search(
        r"^## Your own data\n.*?^```yaml\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    return parse_yaml_text(block[1], "README.md")


def write_tickets(path: Path, count: int) -> list[dict[str, str]]:
    """Tickets with line breaks, separators and double quotes, as a spreadsheet writes them; their columns have spaces."""
    chance = random.Random(1)
    tickets = [
        {
            "Ticket text": f'Ticket {number}, please "read"\r\n{" ".join(chance.choices(FILLER, k=8))}, thanks',
            "Queue ": QUEUES[number % 3],
            "Customer ID": f"C{chance.randrange(120):04}" + " " * chance.randrange(2),
        }
        for number in range(count)
    ]
    path.parent.mkdir(parents=True)
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(tickets[0]))
        writer.writeheader()
        writer.writerows(tickets)
    return tickets


def test_tickets_become_splits_with_the_settings_of_readme(workdir, tiny_bert):
    params = parse_yaml(ROOT / "docs/default_run/params.yaml") | {"model": {"uri": str(tiny_bert), "sha256": None}}
    params["tokenize"]["max_length"] = 64  # the limit of the tiny model
    for section, values in readme_settings().items():
        for key, value in values.items():
            # README shows a part of `zero_shot`.
            params[section][key] = params[section][key] | value if isinstance(value, dict) else value
    Path("params.yaml").write_text(yaml.safe_dump(params))
    tickets = write_tickets(workdir / params["data"]["uri"], 600)

    download.main()
    tokenize.main()

    splits = {name: read_rows(name) for name in SPLITS}
    assert label_names(splits["test"]) == sorted(QUEUES)
    assert {text for rows in splits.values() for text in rows["text"]} == {row["Ticket text"] for row in tickets}
    customers = {name: set(rows["group"]) for name, rows in splits.items()}
    assert set.union(*customers.values()) == {row["Customer ID"].strip() for row in tickets}
    assert all(customers[one].isdisjoint(customers[other]) for one, other in itertools.combinations(SPLITS, 2))
    dropped = json.loads(Path("metrics/data.json").read_text())["dropped"]
    assert set(dropped.values()) == {0}


def test_git_ignores_the_tickets_and_keeps_the_note_about_the_folder(workdir):
    """In a repository of its own: a downloaded archive of the project has none."""
    shutil.copy(ROOT / ".gitignore", workdir)
    subprocess.run(["git", "init", "-q"], check=True)

    def ignored(path: str) -> bool:
        return subprocess.run(["git", "check-ignore", "-q", "--no-index", path], check=False).returncode == 0

    assert ignored(readme_settings()["data"]["uri"])
    assert ignored("data/local/tickets/train.csv")
    assert not ignored("data/local/README.md")
