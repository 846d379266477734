"""Labels for texts, by the exported model; needs no torch.

    python -m finetune.predict "a film to remember" "two hours I will not get back"
    python -m finetune.predict --input reviews.csv --output scored.parquet
    cat texts.txt | python -m finetune.predict > answers.jsonl

Texts given as arguments, or one a line on stdin, are answered by a line of JSON each, in their order. A table comes back
with its rows in their order and its columns as they are, and the answers in columns beside them; without --output it
comes as JSON Lines on stdout. A text that is missing or blank has no label: its answer is null.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

from finetune.base.command import run
from finetune.base.errors import Stopped, UserError, one_line
from finetune.predict.answers import answer_texts, arrived_lines
from finetune.runtime.classifier import EXPORTED, Classifier


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
        "--model", type=Path, default=EXPORTED, metavar="FOLDER", help=f"exported model (default: {EXPORTED})"
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


def checked(texts: list[str]) -> list[str]:
    """Texts from the command line; raises UserError for bytes that are not UTF-8."""
    for number, text in enumerate(texts, start=1):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UserError(f"text {number} is not UTF-8; give it in a file that is, with --input") from None
    return texts


def stopper(output: Path | None):
    """Handler of a signal that ends the command; what it began to write into a file is taken away, unlike stdout."""

    def stop(number: int, _):
        raise Stopped("stopped" if output is None else "stopped; nothing was written", 128 + number)

    return stop


def answer(options: argparse.Namespace):
    """Answers the texts or the table that the options name."""
    if options.input is None:
        classifier = Classifier(options.model, threads=options.threads)
        answer_texts(classifier, [checked(options.texts)] if options.texts else arrived_lines(sys.stdin.buffer))
        return
    # Only tables need pyarrow, and loading it takes half as long as answering a single text.
    from finetune.predict.table import answer_table, check_files

    check_files(options.input, options.output)
    classifier = Classifier(options.model, threads=options.threads)
    answer_table(classifier, options.input, options.output, options.text_column, options.prefix)


def main():
    options = parsed()
    # Like Ctrl-C: what was begun is taken away.
    signal.signal(signal.SIGTERM, stopper(options.output))
    try:
        answer(options)
    except BrokenPipeError:
        # Who reads us has enough. Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise UserError(one_line(error)) from None


if __name__ == "__main__":
    raise SystemExit(run(main))
