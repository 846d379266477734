"""Whether the scores of two revisions are about the same test rows, so that one can be called better than the other.

The digest of the rows in metrics/test.json decides where both revisions have one. For older metrics, the labels, the counts, the
checksum of the data in dvc.lock, the settings of the split and the row ids of the predictions must agree.
"""

from finetune.results.revisions import Revision
from finetune.wording.numbers import one_line, shortened

# Settings that choose the test rows; `validation` and `train_rows` do not.
SPLIT = ("test", "test_rows", "folds", "fold", "seed")
CELL = 60  # characters of a setting in a sentence


def why_not_comparable(base: Revision, head: Revision) -> str | None:
    """One line on why scores of two revisions are about different rows or labels; None where they can be compared."""
    theirs, ours = base.metrics()["test"], head.metrics()["test"]
    names = [list(test.get("per_class") or {}) for test in (theirs, ours)]
    if all(names) and set(names[0]) != set(names[1]):
        there, here = (shortened(", ".join(side), CELL) for side in names)
        return f"the labels differ ({there} at {base}, {here} at {head})"
    digests = [test.get("rows_digest") for test in (theirs, ours)]
    if all(digests):
        differ = digests[0] != digests[1]
    else:
        differ = counts(theirs) != counts(ours) or other_data(base, head) or other_rows(base, head)
    return f"the test rows differ: {cause(base, head)}" if differ else None


def counts(test: dict) -> tuple:
    """Test rows, and those of each label."""
    per_class = test.get("per_class") or {}
    return test.get("rows"), {name: block.get("rows") for name, block in per_class.items()}


def settings(revision: Revision, stage: str, section: str) -> dict:
    """A section of the parameters that a stage ran with, as dvc.lock has it; from params.yaml where there is no dvc.lock."""
    ran = revision.lock().get(stage, {}).get("params", {}).get("params.yaml", {}).get(section)
    return ran or revision.params().get(section) or {}


def raw_data(revision: Revision) -> str | None:
    """Checksum of the downloaded rows in dvc.lock."""
    outs = revision.lock().get("download", {}).get("outs", [])
    return next((out.get("md5") for out in outs if out.get("path") == "data/raw"), None)


def other_data(base: Revision, head: Revision) -> bool:
    """Whether the two revisions downloaded different rows."""
    checksums = raw_data(base), raw_data(head)
    if all(checksums):
        return checksums[0] != checksums[1]
    return settings(base, "download", "data") != settings(head, "download", "data")


def changed_split(base: Revision, head: Revision) -> list[str]:
    """Settings of the split that choose other test rows, with both values."""
    theirs, ours = (settings(revision, "tokenize", "split") for revision in (base, head))
    return [
        f"split.{key} is {one_line(theirs.get(key))} at {base} and {one_line(ours.get(key))} at {head}"
        for key in SPLIT
        if theirs.get(key) != ours.get(key)
    ]


def other_rows(base: Revision, head: Revision) -> bool:
    """Whether the same source gave the two revisions other test rows: by the row ids where both have predictions."""
    tables = head.predictions(), base.predictions()
    if all(table is not None for table in tables):
        ours, theirs = ({*table.column("row").to_pylist()} for table in tables)
        return ours != theirs
    return bool(changed_split(base, head))


def cause(base: Revision, head: Revision) -> str:
    """What changed the test rows, as far as dvc.lock, params.yaml and the counts show it."""
    if other_data(base, head):
        sources = [settings(revision, "download", "data").get("uri") for revision in (base, head)]
        if sources[0] == sources[1]:
            return f"{one_line(sources[0])} holds other data at {base} than at {head}"
        there, here = (shortened(one_line(source), CELL) for source in sources)
        return f"the data are {there} at {base} and {here} at {head}"
    split = changed_split(base, head)
    if split:
        return f"the same source gave another subset ({'; '.join(split)})"
    there, here = (revision.metrics()["test"].get("rows") for revision in (base, head))
    if there != here:
        return f"{there} at {base} and {here} at {head}"
    return f"other texts or other labels at {head} than at {base}"
