"""Pinned versions of the libraries that make and run the exported model."""

import re
from pathlib import Path

PINS = (Path("requirements.txt"), Path("requirements-export.txt"))


def pinned_versions(folder: Path = Path()) -> dict[str, str]:
    """Pinned versions by library, from the lists in the project's folder: {"torch": "2.13.0"}."""
    text = "\n".join((folder / path).read_text(encoding="utf-8") for path in PINS)
    return dict(re.findall(r"^([A-Za-z][\w.-]*)==(\S+)", text, re.MULTILINE))
