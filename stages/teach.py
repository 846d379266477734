"""Label the training rows with the probabilities of a teacher, a fine-tuned classifier that `train` learns from too.

    python -m stages.teach

reads   data/tokenized/train.parquet and validation.parquet, data/local/ (if `train.teacher` points there)
writes  data/teacher/: train.parquet with the teacher's logits, source.json; without a teacher source.json alone

Another learning rate or temperature does not rerun it.
"""

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from finetune.base.command import run
from finetune.base.files import write_json
from finetune.base.params import read_params
from finetune.base.terminal import say
from finetune.rows.stored import column, has_label_sets, label_names, read_rows

TEACHER = Path("data/teacher")


def teach(uri: str, truncation: str) -> dict:
    """Writes the teacher's logits of the training rows; returns its origin and its accuracy on validation."""
    # Without a teacher, which is the default, the stage needs neither torch nor transformers.
    from finetune.teacher.answers import accuracy, load_teacher, teacher_logits

    rows, validation = read_rows("train", ["row", "label"]), read_rows("validation", ["label"])
    with tempfile.TemporaryDirectory() as folder:
        teacher = load_teacher(uri, label_names(rows), Path(folder), has_label_sets(rows))
        logits = {split: teacher_logits(teacher, split, truncation) for split in ("validation", "train")}
    table = pa.table({"row": column(rows, "row"), "logits": pa.array(list(logits["train"]))})
    pq.write_table(table, TEACHER / "train.parquet")
    share = accuracy(logits["validation"], validation)
    say(f"teach: answers of {uri} for {len(rows)} training rows; its accuracy on validation is {share:.3f}")
    return {"uri": uri, **teacher.pin, "accuracy": share}


def main():
    uri, truncation = read_params("train.teacher", "tokenize.truncation")
    TEACHER.mkdir(parents=True, exist_ok=True)
    write_json(TEACHER / "source.json", teach(uri, truncation) if uri else {})


if __name__ == "__main__":
    raise SystemExit(run(main, usage=__doc__))
