"""Labels for texts, by the exported model; needs no torch.

    python -m finetune.predict "a film to remember" "two hours I will not get back"
    python -m finetune.predict --input reviews.csv --output scored.parquet
    cat texts.txt | python -m finetune.predict > answers.jsonl

Texts given as arguments, or one a line on stdin, are answered by a line of JSON each, in their order. A table comes back
with its rows in their order and its columns as they are, and the answers in columns beside them; without --output it
comes as JSON Lines on stdout. A text that is missing or blank has no label: its answer is null.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from finetune.base.errors import Stopped, UserError, one_line
from finetune.runtime.classifier import Classifier

MODEL = Path("models/export")
CHUNK = 1_000  # rows answered at a time, a second or two: the bar moves, and texts of similar length find each other
READ = 65_536  # bytes taken from stdin at a time, what a pipe holds
DIGITS = 6  # of a probability, as in metrics/


def answers(classifier: Classifier, texts: Sequence[str | None]) -> tuple[list[str | None], np.ndarray]:
    """Label of each text, and probabilities of shape [texts, classes]; None and nan for a text that is missing or blank."""
    there = [place for place, text in enumerate(texts) if text and not text.isspace()]
    probabilities = np.full((len(texts), len(classifier.labels)), np.nan)
    probabilities[there] = classifier.probabilities([texts[place] for place in there])
    labels: list[str | None] = [None] * len(texts)
    for place in there:
        labels[place] = classifier.labels[probabilities[place].argmax()]
    return labels, probabilities.round(DIGITS)


def answer_lines(classifier: Classifier, texts: Sequence[str]) -> bytes:
    """A line of JSON for each text: {"label": "good", "probability": 0.9, "probabilities": {"bad": 0.1, "good": 0.9}}."""
    lines = []
    for label, row in zip(*answers(classifier, texts), strict=True):
        answer = {"label": None, "probability": None, "probabilities": None}
        if label is not None:
            probabilities = dict(zip(classifier.labels, row.tolist(), strict=True))
            answer = {"label": label, "probability": probabilities[label], "probabilities": probabilities}
        lines.append(json.dumps(answer, ensure_ascii=False) + "\n")
    return "".join(lines).encode()


def arrived_lines(stream) -> Iterator[list[str]]:
    """Lines of a binary stream, as many at a time as have arrived, without their ends; raises UserError for other than UTF-8."""
    number, rest = 1, bytearray()
    while chunk := stream.read1(READ):
        rest += chunk
        if b"\n" in chunk:
            *lines, rest = rest.split(b"\n")
            yield decoded(lines, number)
            number += len(lines)
    if rest:
        yield decoded([rest], number)


def decoded(lines: list[bytes], first: int) -> list[str]:
    """Lines as text; the mark that Windows puts in front of a file, and its ends of lines, are left out."""
    found = []
    for number, line in enumerate(lines, start=first):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise UserError(f"stdin is not UTF-8 (line {number}); convert it to UTF-8") from None
        found.append(text.removesuffix("\r"))
    return found


def answer_texts(classifier: Classifier, batches: Iterable[Sequence[str]]):
    """Answers on stdout, sent on as soon as a batch is done, so that the next program in a pipe need not wait."""
    for texts in batches:
        for start in range(0, len(texts), CHUNK):
            sys.stdout.buffer.write(answer_lines(classifier, texts[start : start + CHUNK]))
            sys.stdout.buffer.flush()


def answer_table(classifier: Classifier, path: Path, output: Path | None, text: str, prefix: str):
    """Writes a table with its answers; raises UserError before it starts where it could not end."""
    # Only tables need these two, and the second is half of the time that a single text takes.
    import pyarrow as pa
    from tqdm import tqdm

    from finetune.predict.columns import read_columns, survey
    from finetune.predict.writer import json_writer, table_writer
    from finetune.sources.tables import MissingColumn

    try:
        rows, schema = survey(path, text)
    except MissingColumn as error:
        raise UserError(f"{error}; name the one to read with --text-column") from None
    new = [
        pa.field(f"{prefix}label", pa.string()),
        pa.field(f"{prefix}probability", pa.float64()),
        *(pa.field(f"{prefix}probability_{label}", pa.float64()) for label in classifier.labels),
    ]
    if taken := [field.name for field in new if field.name in schema.names]:
        raise UserError(
            f"{path} already has a column {taken[0]!r}; name the new ones otherwise, as with --prefix predicted_"
        )
    whole = pa.schema([*schema, *new], metadata=schema.metadata)
    blank = 0
    writer = json_writer(sys.stdout.buffer, whole) if output is None else table_writer(output, whole)
    with writer as write, tqdm(desc="predict", total=rows, unit=" rows", disable=None) as bar:
        for texts, table in read_columns(path, text, schema, CHUNK):
            labels, probabilities = answers(classifier, texts)
            shares = [probabilities.max(1), *probabilities.T]
            added = [labels, *(pa.array(column, from_pandas=True) for column in shares)]
            write(pa.Table.from_arrays([*table.columns, *added], schema=whole))
            blank += labels.count(None)
            bar.update(len(texts))
    if blank:
        print(f"{path}: {blank} of {rows} rows have no text, and so no label", file=sys.stderr)


def check_files(path: Path, output: Path | None):
    """Raises UserError where a table cannot be read from or written to these."""
    if not path.is_file():
        raise UserError(f"{path} is no file; expected a table such as reviews.csv")
    if output is not None:
        from finetune.predict.writer import written_format

        written_format(output)
        if not output.parent.is_dir():
            raise UserError(f"there is no folder {output.parent} to write {output.name} into; make it first")
        if output.exists() and (not output.is_file() or output.samefile(path)):
            what = "the input itself" if output.is_file() else "no file"
            raise UserError(f"{output} is {what}; name another file for the output")


def checked(texts: list[str]) -> list[str]:
    """Texts from the command line; raises UserError for bytes that are not UTF-8."""
    for number, text in enumerate(texts, start=1):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UserError(f"text {number} is not UTF-8; give it in a file that is, with --input") from None
    return texts


def parsed() -> argparse.Namespace:
    """Options of the command line; raises UserError for those that do not go together."""
    summary, _, more = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m finetune.predict",
        description=summary,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "texts", nargs="*", metavar="text", help="a text to classify; without any, one a line from stdin"
    )
    parser.add_argument(
        "--input", type=Path, metavar="FILE", help="a table: .csv, .tsv, .jsonl or .parquet, also compressed"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to put it with its answers, in any of these")
    parser.add_argument("--text-column", default="text", metavar="NAME", help="column of the texts (default: text)")
    parser.add_argument(
        "--prefix", default="", help="put before the new columns label, probability, probability_<class>"
    )
    parser.add_argument(
        "--model", type=Path, default=MODEL, metavar="FOLDER", help=f"exported model (default: {MODEL})"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads to compute with (default: one a core)")
    options = parser.parse_args()
    if options.threads is not None and options.threads < 1:
        raise UserError(f"--threads must be at least 1, found {options.threads}")
    if options.input is not None and options.texts:
        raise UserError(f"found texts and --input {options.input}; give one of them")
    if options.input is None and options.output is not None:
        raise UserError("--output needs --input; answers to single texts go to stdout")
    if options.input is None and not options.texts and sys.stdin.isatty():
        raise UserError("no text to classify; give some, or --input FILE, or one a line on stdin (see --help)")
    return options


def stopper(output: Path | None):
    """Handler of a signal that ends the command; what it began to write into a file is taken away, unlike stdout."""

    def stop(number: int, _):
        raise Stopped("stopped" if output is None else "stopped; nothing was written", 128 + number)

    return stop


def main():
    options = parsed()
    # Like Ctrl-C: what was begun is taken away.
    signal.signal(signal.SIGTERM, stopper(options.output))
    try:
        if options.input is not None:
            check_files(options.input, options.output)
        classifier = Classifier(options.model, threads=options.threads)
        if options.input is not None:
            answer_table(classifier, options.input, options.output, options.text_column, options.prefix)
        elif options.texts:
            answer_texts(classifier, [checked(options.texts)])
        else:
            answer_texts(classifier, arrived_lines(sys.stdin.buffer))
    except BrokenPipeError:
        # Who reads us has enough. Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise UserError(one_line(error)) from None
