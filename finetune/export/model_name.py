"""Name of the model on its card: the one that params.yaml gives, or one derived from the data."""

import re
import unicodedata
from pathlib import PurePosixPath

from finetune.base.errors import UserError

# Names that are better than those of the files, for data that this project comes with.
NAMES = {"rotten_tomatoes_corpus_full": "film-review-sentiment"}
ENDINGS = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".json", ".parquet", ".gz", ".bz2", ".xz", ".zip")
LONGEST = 60  # characters of the derived part; the Hub takes names of up to 96


def model_name(chosen: str | None, uri: str) -> str:
    """The name chosen in params.yaml, or without one the data's name with `-classifier` after it.

    `data/local/Support tickets.csv` -> "support-tickets-classifier", `hf://datasets/owner/glue@main#sst2` ->
    "glue-sst2-classifier".
    """
    if chosen is not None:
        return chosen
    source = data_name(uri)
    return NAMES.get(source) or f"{slug(source) or 'text'}-classifier"


def check_name(chosen: str | None, uri: str):
    """Raises UserError if params.yaml gives a name that belongs to other data: somebody kept it when the data changed."""
    for source, name in NAMES.items():
        if chosen == name and data_name(uri) != source:
            raise UserError(
                f"export.name is {name}, the name of another data set's model, and data.uri is {uri}; set export.name to a name "
                f"of your own, or to null for {model_name(None, uri)}, and run `dvc repro`"
            )


def data_name(uri: str) -> str:
    """Name of the file, folder or Hub data set that a uri names, without endings of formats and compressions."""
    path, _, inside = uri.partition("#")
    if uri.startswith("hf://"):
        repository = PurePosixPath(path.partition("@")[0]).name
        return f"{repository}-{inside}" if inside else repository
    if "://" in path:
        path = path.partition("?")[0]
    name = PurePosixPath(inside or path).name
    while name.lower().endswith(ENDINGS):
        name = name.rpartition(".")[0]
    return name


def slug(name: str) -> str:
    """A name in lower-case ASCII letters and digits with hyphens between them; "" if it has none of these."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:LONGEST].strip("-")
