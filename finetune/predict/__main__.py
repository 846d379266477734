"""Label texts with the exported model; needs no torch.

    python -m finetune.predict "a film to remember" "two hours I will not get back"
    python -m finetune.predict --input reviews.csv --output scored.parquet
    python -m finetune.predict --input s3://bucket/reviews/ --output s3://bucket/scored/ --ray auto
    cat texts.txt | python -m finetune.predict > answers.jsonl

Each text, given as an argument or as one line on stdin, gets one line of JSON, in the same order. A table keeps its rows
and columns and gets the answers in new columns; without --output it is written to stdout as JSON Lines. A missing or blank
text has no label: its answer is null, so line N of the output always answers line N of the input. Where the model's decision
leaves a text unsure, the label is null too, and `unsure` is true. A folder of tables becomes
a folder of Parquet files, one for each table; a stopped run continues with the missing ones. For a model of several columns
each text is a JSON object with these, such as {"title": "Lost", "body": "It never came."}. A model for several labels per text
answers with the list of those that reach their thresholds.
"""

import argparse
import contextlib
import os
import re
import signal
import sys
from pathlib import Path

from finetune.base.addresses import brings_secret, secret_refusal
from finetune.base.command import Parser, run
from finetune.base.errors import Stopped, UserError, file_problem, one_line
from finetune.predict.answers import answer_texts, arrived_lines
from finetune.runtime.classifier import EXPORTED, Classifier

MOST_THREADS = 1_024  # more than the cores of any machine this may run on; each costs memory


def parsed() -> argparse.Namespace:
    """Options of the command line; raises UserError if they contradict each other."""
    summary, _, more = __doc__.partition("\n\n")
    parser = Parser(
        prog="python -m finetune.predict",
        description=summary,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "texts", nargs="*", metavar="text", help="text to classify; without any, reads one text per line from stdin"
    )
    parser.add_argument(
        "--input",
        metavar="PATH",
        help="table to classify: .csv, .tsv, .jsonl or .parquet, also compressed; or a folder of them, also s3://…",
    )
    parser.add_argument(
        "--output",
        metavar="PATH",
        help="where to write the table with its answers, in any of these formats; or a folder, also s3://…",
    )
    parser.add_argument(
        "--text-column",
        action="append",
        metavar="NAME",
        help="column that holds the texts (default: text); for a model of several columns, given once for each (default: "
        "those it was trained on)",
    )
    parser.add_argument(
        "--prefix", default="", help="prefix of the new columns label, probability and probability_<class>"
    )
    parser.add_argument(
        "--model", type=Path, default=EXPORTED, metavar="FOLDER", help=f"exported model (default: {EXPORTED})"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads to compute with (default: one per core)")
    parser.add_argument(
        "--ray",
        metavar="HOST:PORT",
        help="score a folder on this Ray cluster, --threads cores for each part (default: 1)",
    )
    options = parser.parse_args()
    if options.threads is not None and not 1 <= options.threads <= MOST_THREADS:
        raise UserError(f"--threads must be 1 to {MOST_THREADS:,}, found {options.threads}")
    if options.input is not None and options.texts:
        raise UserError(f"found both texts and --input {options.input}; give one of them")
    if options.input is None and options.output is not None:
        raise UserError("--output needs --input; answers to single texts go to stdout")
    for name in filter(None, (options.input, options.output)):
        check_address(name)
    if options.ray is not None and (options.input is None or not is_folder(options.input)):
        raise UserError(
            "--ray needs a folder: --input FOLDER --output FOLDER, on a disk that the machines share or s3://…"
        )
    check_streams(options)
    return options


def check_address(name: str):
    """Raises UserError for an address that brings a secret, and for a mistyped one, which would name a local folder."""
    with contextlib.suppress(ValueError):  # no address
        if brings_secret(name):
            variables = "the environment (AWS_SECRET_ACCESS_KEY, …)"
            elsewhere = f"{variables}, or into fsspec's configuration, ~/.config/fsspec/conf.json"
            raise UserError(secret_refusal("an address", elsewhere))
    if re.match(r"(s3|s3a|gs|gcs|az|abfs|hf|https?):/?[^/]", name):
        raise UserError(f"{name} must have two slashes after its colon to be an address, and ./ in front to be a file")


def is_folder(name: str) -> bool:
    """Whether an --input is a folder of tables, on this disk or at a URL, and not one table."""
    path = name.removeprefix("file://")
    return "://" in path or Path(path).is_dir()


def check_streams(options: argparse.Namespace):
    """Raises UserError if texts are to come from a terminal or a closed stdin, or answers to go to a closed stdout."""
    from_stdin = options.input is None and not options.texts
    if from_stdin and (sys.stdin is None or sys.stdin.isatty()):
        where = "stdin is closed" if sys.stdin is None else "stdin is a terminal"
        raise UserError(f"no text to classify, {where}; give texts, --input FILE, or one text per line on stdin")
    if options.output is None and sys.stdout is None:
        raise UserError("stdout is closed, so the answers have nowhere to go; give --input FILE and --output FILE")


def checked(texts: list[str]) -> list[str]:
    """The texts from the command line; raises UserError if one is not UTF-8."""
    for number, text in enumerate(texts, start=1):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UserError(f"text {number} is not UTF-8; put it in a UTF-8 file and pass that with --input") from None
    return texts


def stopper(output: str | None):
    """Signal handler that ends the command. A partly written file is removed; lines already on stdout stay."""

    def stop(number: int, _):
        raise Stopped("stopped" if output is None else "stopped; nothing was written", 128 + number)

    return stop


def answer(options: argparse.Namespace):
    """Answers the texts or the table that the options name."""
    if options.input is None:
        classifier = Classifier(options.model, threads=options.threads)
        batches = [checked(options.texts)] if options.texts else arrived_lines(sys.stdin.buffer)
        where = "text" if options.texts else "stdin line"
        if classifier.columns is not None:
            from finetune.predict.fields import rows_of  # it needs pyarrow, as below

            batches = rows_of(batches, classifier.columns, where)
        answer_texts(classifier, batches)
        return
    if is_folder(options.input):
        from finetune.predict.folder import score_folder

        score_folder(options)
        return
    # Only tables need pyarrow, and loading it takes half as long as answering a single text.
    from finetune.predict.table import answer_table, check_files, report_unlabelled

    path, output = Path(options.input), None if options.output is None else Path(options.output)
    check_files(path, output)
    classifier = Classifier(options.model, threads=options.threads)
    report_unlabelled(path, answer_table(classifier, path, output, options.text_column, options.prefix))


def main():
    options = parsed()
    # Like Ctrl-C: remove the partly written output.
    signal.signal(signal.SIGTERM, stopper(options.output))
    try:
        answer(options)
    except BrokenPipeError:
        # The reader has closed the pipe. Without this, Python would raise again on closing stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise UserError(file_problem(error) or one_line(error)) from None


if __name__ == "__main__":
    raise SystemExit(run(main))
