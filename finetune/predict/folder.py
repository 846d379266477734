"""Scores a folder of tables part by part, on this machine or on a Ray cluster; a stopped run continues with the missing parts."""

import contextlib
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from finetune.base.errors import Stopped, UserError
from finetune.base.terminal import say
from finetune.predict.parts import LOCK, RECORD, Part, input_parts, missing_parts, record, remove_unfinished
from finetune.predict.scorer import Job, Scorer, contents, digest, library_versions
from finetune.predict.storage import Folder, LocalFolder, folder_at
from finetune.predict.table import AnsweredTable, chosen_columns, report_unlabelled
from finetune.runtime.classifier import Classifier

MOST_FAILED = 10  # parts with a mistake; then it is probably one of all parts
Results = Iterator[tuple[Part, AnsweredTable | UserError]]


def score_folder(options: Namespace):
    """Scores the folder that the options name. Raises UserError before it writes anything, or for parts that failed."""
    if options.output is None:
        raise UserError(f"--input {options.input} is a folder; name the folder for the scored parts with --output")
    input, output = folder_at(options.input), folder_at(options.output)
    if isinstance(output, LocalFolder) and output.path.exists() and not output.path.is_dir():
        raise UserError(f"{output} is a file, expected a folder for the scored parts")
    if output.holds(input) or input.holds(output):
        raise UserError(f"--output {output} and --input {input} lie in each other; choose a folder outside the input")
    parts = input_parts(input)
    columns, files = columns_and_model(options)
    facts = {
        "model": digest(files),
        "options": {"text_column": columns[0] if len(columns) == 1 else columns, "prefix": options.prefix},
        "libraries": library_versions(),
    }
    missing_parts(parts, output, facts)
    job = Job(str(input), str(output), columns, options.prefix, options.threads, facts["libraries"])
    spread = partial(on_cluster, options.ray) if options.ray else here
    with spread(job, files) as results, alone(output):
        missing = missing_parts(parts, output, facts)
        remove_unfinished(output, parts)
        output.write(RECORD, record(parts, input, facts))
        report(results(missing), missing, parts, input, output)


def columns_and_model(options: Namespace) -> tuple[list[str], dict[str, bytes]]:
    """Columns to read, and the model's files by their names; raises UserError for a mistake in either.

    The model is loaded only for that: whoever scores loads it again, and two would take twice the memory.
    """
    classifier = Classifier(options.model, threads=options.threads)
    return chosen_columns(classifier, options.text_column), contents(Path(options.model), classifier.files)


@contextlib.contextmanager
def alone(output: Folder) -> Iterator[None]:
    """Block in which no other process on this machine scores into a folder; raises UserError if one does."""
    if not isinstance(output, LocalFolder):
        # Two runs into one store write the same bytes.
        yield
        return
    output.path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(output.path / LOCK, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"another process is scoring into {output}; wait for it, or choose another folder") from None
    try:
        yield
    finally:
        (output.path / LOCK).unlink(missing_ok=True)
        lock.release()


@contextlib.contextmanager
def here(job: Job, files: dict[str, bytes]) -> Iterator[Callable[[list[Part]], Results]]:
    """Function that scores parts in this process, one after another."""

    def results(parts: list[Part]) -> Results:
        scorer = Scorer(job, files)
        scorer.ready()
        for part in parts:
            try:
                yield part, scorer.work(part)
            except UserError as error:
                yield part, error

    yield results


@contextlib.contextmanager
def on_cluster(address: str, job: Job, files: dict[str, bytes]) -> Iterator[Callable[[list[Part]], Results]]:
    """Function that scores parts on a Ray cluster, one for each core, or for as many cores as --threads says."""
    from finetune.cluster.connection import connection
    from finetune.cluster.workers import Workers, places

    threads = job.threads or 1
    # Otherwise each worker's tokenizer would start a thread for every core of its machine.
    with connection(address, {"RAYON_NUM_THREADS": str(threads)}) as ray:

        def results(parts: list[Part]) -> Results:
            room = places(ray, threads, 0, "--threads")
            model = ray.put(files)
            actor = ray.remote(Scorer).options(num_cpus=threads, max_concurrency=2)
            start = partial(actor.remote, job._replace(threads=threads), model)
            workers = Workers(ray, start, min(len(parts), room))
            try:
                yield from workers.results(parts)
            finally:
                workers.end()

        yield results


def report(results: Results, missing: list[Part], parts: list[Part], input: Folder, output: Folder):
    """Takes the results as they come and says what came of them. Raises UserError if a part failed, Stopped on request."""
    rows, blank, unsure, failed, schemas = 0, 0, 0, [], {}
    done = len(parts) - len(missing)
    found = f" ({done:,} of them were there already)" if done else ""
    try:
        with contextlib.closing(results), tqdm(desc="predict", total=len(missing), unit=" parts", disable=None) as bar:
            for part, result in results:
                bar.update()
                if isinstance(result, UserError):
                    failed.append(part.name)
                    say(f"error: {result}", sys.stderr)
                    if len(failed) == MOST_FAILED:
                        break
                    continue
                done, rows = done + 1, rows + result.rows
                blank, unsure = blank + result.blank, unsure + result.unsure
                schemas.setdefault(result.schema.remove_metadata(), part.name)
    except (KeyboardInterrupt, Stopped) as stop:
        status = stop.status if isinstance(stop, Stopped) else 130
        message = f"stopped; {done:,} of {len(parts):,} parts are in {output}, and the same command makes the others"
        raise Stopped(message, status) from None
    report_unlabelled(str(input), AnsweredTable(rows, blank, unsure, None))
    if len(schemas) > 1:
        one, other = list(schemas.values())[:2]
        say(f"{input}: the parts have different columns or types, as {one} and {other}", sys.stderr)
    if failed:
        raise UserError(
            f"{done:,} of {len(parts):,} parts are in {output}; {len(failed):,} failed ({', '.join(failed[:5])}): "
            "fix them and run the same command again, which makes only the missing ones"
        )
    say(f"{len(parts):,} parts are in {output}{found}; this run scored {rows:,} rows", sys.stderr)
