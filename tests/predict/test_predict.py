"""The predict command: single texts, pipes and whole tables, without torch."""

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finetune.base.errors import UserError
from finetune.predict import __main__ as command_line
from finetune.predict import columns
from finetune.predict.answers import CHUNK
from finetune.predict.columns import read_columns, survey
from finetune.predict.writer import table_writer
from finetune.runtime.classifier import Classifier
from finetune.sources.tables import read_batches
from tests.conftest import ROOT
from tests.support.random_export import NAMES
from tests.support.tiny import reviews, write_table

TEXTS = [row["text"] for row in reviews(30, seed=5)]


@pytest.fixture(scope="module")
def classifier(shipped) -> Classifier:
    return Classifier(shipped, threads=1)


@pytest.fixture
def command(shipped, workdir):
    """Function that runs `python -m finetune.predict` on the exported folder."""

    def run(*arguments, stdin: bytes = b"", check: bool = True, **environment) -> subprocess.CompletedProcess:
        done = subprocess.run(
            [sys.executable, "-m", "finetune.predict", "--model", shipped, "--threads", "1", *arguments],
            input=stdin,
            cwd=workdir,
            capture_output=True,
            env=os.environ | environment,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr.decode()
        return done

    return run


@pytest.fixture
def scored(shipped, workdir, monkeypatch):
    """Function that scores a table in this process and returns the path of the output."""

    def run(source: Path, output: str, *more: str) -> Path:
        arguments = ["predict", "--model", str(shipped), "--input", str(source), "--output", output, *more]
        monkeypatch.setattr(sys, "argv", arguments)
        before = signal.getsignal(signal.SIGTERM)
        try:
            command_line.main()
        finally:
            signal.signal(signal.SIGTERM, before)
        return workdir / output

    return run


def rows_of(path: Path) -> list[dict[str, str | None]]:
    """Rows of a table as text."""
    _, schema = survey(path, ["text"])
    batches = read_batches(path, schema.names)
    return [dict(zip(schema.names, row, strict=True)) for batch in batches for row in zip(*batch.values(), strict=True)]


def refusal(scored, *arguments) -> str:
    """The one-line error of scoring a table."""
    with pytest.raises(UserError) as caught:
        scored(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(Path.cwd()) + "/", "")


def test_a_text_gets_its_label_and_all_probabilities(command, classifier):
    done = command(TEXTS[0], "好 film", LC_ALL="C")
    answers = [json.loads(line) for line in done.stdout.decode().splitlines()]
    expected = classifier.probabilities([TEXTS[0], "好 film"])
    for answer, row in zip(answers, expected, strict=True):
        assert list(answer["probabilities"]) == NAMES
        assert list(answer["probabilities"].values()) == pytest.approx(row, abs=1e-6)
        assert answer["label"] == NAMES[row.argmax()]
        assert answer["probability"] == max(answer["probabilities"].values())
    assert NAMES[0] in done.stdout.decode() or answers[0]["label"] != NAMES[0]  # not escaped
    assert done.stderr == b""


def test_the_command_loads_neither_torch_nor_transformers_and_for_texts_no_pyarrow(shipped):
    script = (
        "import sys; from finetune.base.command import run; from finetune.predict.__main__ import main; run(main);"
        "print([name for name in ('torch', 'transformers', 'datasets', 'scipy', 'pyarrow', 'tqdm') if name in sys.modules])"
    )
    command = [sys.executable, "-c", script, "--model", shipped, "good"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1] == "[]"


def test_lines_from_stdin_come_back_as_lines_in_their_order(command, classifier):
    """More than one chunk, with a byte order mark and Windows line ends, and no line end after the last line."""
    many = [f"{TEXTS[number % 30]} {number}" for number in range(CHUNK + 5)]
    done = command(stdin=b"\xef\xbb\xbf" + "\r\n".join([*many, "", " "]).encode())
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["label"] for answer in answers[:-2]] == [
        NAMES[row.argmax()] for row in classifier.probabilities(many)
    ]
    assert len({answer["label"] for answer in answers[:-2]}) > 1
    assert answers[-2:] == [{"label": None, "probability": None, "probabilities": None}] * 2


def test_a_line_is_answered_before_the_next_one_arrives(shipped):
    command = [sys.executable, "-m", "finetune.predict", "--model", shipped]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        late = threading.Timer(60, process.kill)
        late.start()
        for text in (b"good film\nbad", b" film\n"):
            process.stdin.write(text)
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["label"] in NAMES
        process.stdin.close()
        assert process.stdout.read() == b""
        late.cancel()
    assert process.returncode == 0


def test_a_reader_that_closes_the_pipe_ends_the_command_quietly(shipped):
    command = [sys.executable, "-m", "finetune.predict", "--model", shipped]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdin.write(b"good film\n")
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.close()
        process.stdin.write(b"bad film\n" * 50)
        process.stdin.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.parametrize("source", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    "output", ["scored.csv", "scored.tsv.gz", "scored.jsonl.xz", "scored.parquet", "scored.ndjson.bz2"]
)
def test_every_format_converts_to_every_other_with_rows_in_order(scored, classifier, workdir, source, output):
    rows = [{"id": str(number), "text": text, "note": 'two\nlines, "quoted"'} for number, text in enumerate(TEXTS)]
    path = workdir / f"reviews.{source}"
    if source in ("csv", "tsv"):
        write_table(path, rows, "," if source == "csv" else "\t")
    elif source == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    found = rows_of(scored(path, output))
    assert [{name: row[name] for name in ("id", "text", "note")} for row in found] == rows
    expected = classifier.probabilities(TEXTS)
    assert list(found[0]) == ["id", "text", "note", "label", "probability", *(f"probability_{name}" for name in NAMES)]
    for row, probabilities in zip(found, expected, strict=True):
        assert row["label"] == NAMES[probabilities.argmax()]
        assert float(row["probability"]) == pytest.approx(probabilities.max(), abs=1e-6)
        written = [float(row[f"probability_{name}"]) for name in NAMES]
        assert written == pytest.approx(probabilities, abs=1e-6)
    assert [path.name for path in workdir.iterdir() if path.name.startswith(".")] == []


def test_parquet_columns_keep_their_types_and_pandas_metadata(scored, workdir):
    table = pa.table(
        {
            "text": pa.array(["good", None]).dictionary_encode(),
            "when": pa.array([1, 2], pa.timestamp("ns", "UTC")),
            "tags": [["a", "b"], None],
            "raw": [b"\xff", b""],
        }
    ).replace_schema_metadata({"pandas": "{}"})
    pq.write_table(table, workdir / "in.parquet")
    with pytest.raises(UserError, match="'raw' cannot be written as text .* write Parquet, which keeps it unchanged"):
        scored(workdir / "in.parquet", "out.csv")
    assert not list(workdir.glob("*out.csv*"))
    scored(workdir / "in.parquet", "other.parquet")
    found = pq.read_table("other.parquet")
    assert found.select(table.column_names).to_pydict() == table.to_pydict()
    assert found.schema.field("when").type == pa.timestamp("ns", "UTC")
    assert found.schema.field("tags").type == table.schema.field("tags").type
    assert found.schema.metadata[b"pandas"] == b"{}"
    # The second row has no text.
    assert found.column("label").to_pylist()[1] is None
    assert found.column("probability").to_pylist()[1] is None
    assert found.column("probability_mixed").null_count == 1
    assert found.schema.field("probability").type == pa.float64()


def test_json_values_come_back_unchanged_and_get_types_where_possible(scored, workdir):
    rows = [
        {"text": "good", "n": 1, "share": 1, "yes": True, "tags": ["a", {"b": None}], "mixed": "x", "half": "\ud83d"},
        {"text": 7, "n": 2, "share": 0.5, "yes": False, "tags": None, "mixed": 3, "half": "x"},
        {"text": None, "n": None, "share": None, "yes": None, "tags": [], "mixed": None, "half": "", "big": 2**70},
    ]
    (workdir / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    scored(workdir / "in.jsonl", "out.jsonl")
    found = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [{name: row[name] for name in (*rows[0], "big")} for row in found] == [
        rows[0] | {"big": None},
        # The column also holds text, so all of its values are text.
        rows[1] | {"big": None},
        rows[2],
    ]
    assert [row["label"] is None for row in found] == [False, False, True]
    scored(workdir / "in.jsonl", "out.parquet")
    types = {field.name: field.type for field in pq.read_schema("out.parquet")}
    assert types["n"] == pa.int64()
    assert types["share"] == pa.float64()
    assert types["yes"] == pa.bool_()
    assert types["mixed"] == types["tags"] == types["half"] == types["big"] == columns.JSON
    scored(workdir / "in.jsonl", "out.csv")
    with open("out.csv", encoding="utf-8", newline="") as file:
        first = next(csv.DictReader(file))
    assert (first["n"], first["yes"], first["tags"], first["big"]) == ("1", "true", '["a", {"b": null}]', "")


def test_rows_without_text_are_counted_and_reported(command, workdir):
    (workdir / "in.csv").write_text("id,text\n1,good\n2,\n3,  \n")
    done = command("--input", "in.csv")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["label"] is None for row in rows] == [False, True, True]
    assert rows[2]["probability_mixed"] is None
    assert done.stderr == b"in.csv: 2 of 3 rows have no text and therefore no label\n"


def test_a_table_without_rows_stays_without_rows(scored, workdir):
    (workdir / "in.csv").write_text("id,text\n")
    assert rows_of(scored(workdir / "in.csv", "out.csv")) == []
    assert Path("out.csv").read_text().startswith("id,text,label,probability,probability_差评,")
    assert rows_of(scored(workdir / "in.csv", "out.parquet")) == []


def test_a_prefix_separates_new_columns_from_old_ones(scored, workdir):
    (workdir / "in.csv").write_text("label,review\nbad,good film\n")
    path = scored(workdir / "in.csv", "out.jsonl", "--prefix", "predicted_", "--text-column", "review")
    found = json.loads(path.read_text())
    assert found["label"] == "bad"
    assert found["predicted_label"] in NAMES


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (
            "review,id\na,1\n",
            [],
            "in.csv has no column 'text'; its columns are review, id; choose the column to read with --text-column",
        ),
        (
            "text,label\na,b\n",
            [],
            "in.csv already has a column 'label'; rename the new ones, for example with --prefix",
        ),
        ("text,id,id\na,1,2\n", [], "in.csv has 2 columns 'id'; give each a different name"),
        ("", [], "in.csv is empty; expected a first line with the names of the columns"),
        ("text\n" + "a\n" * 12_000 + '"b\n', [], "in.csv line 12002 opens a double quote that is never closed"),
    ],
)
def test_a_table_that_cannot_be_scored_is_reported_before_anything_is_written(
    scored, workdir, content, arguments, message
):
    (workdir / "in.csv").write_text(content)
    assert refusal(scored, workdir / "in.csv", "out.csv", *arguments).startswith(message)
    assert [path.name for path in workdir.iterdir()] == ["in.csv"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('"n": ' + "9" * 5000, "in.jsonl line 2 holds an integer of more than 4300 digits; put it in double quotes"),
        ('"n": ' + "[" * 100_000 + "]" * 100_000, "in.jsonl line 2 nests lists or objects too deeply to read; keep it"),
        (r'"k\ud83d": 1', r"in.jsonl line 2: the name 'k\ud83d' contains an unpaired surrogate"),
        ('"n": \x00', "in.jsonl line 2 is not JSON (Expecting value)"),
    ],
    ids=["digits", "deep", "half", "none"],
)
@pytest.mark.parametrize("first", [True, False], ids=["first_row", "later_row"])
def test_a_line_of_json_that_cannot_be_scored_is_reported_with_its_number(scored, workdir, first, line, message):
    before = "\n" if first else '{"text": "good"}\n'
    (workdir / "in.jsonl").write_text(f'{before}{{"text": "bad", {line}}}\n')
    assert refusal(scored, workdir / "in.jsonl", "out.jsonl").startswith(message)
    assert [path.name for path in workdir.iterdir()] == ["in.jsonl"]


@pytest.mark.parametrize("output", ["out.jsonl", "out.csv", "out.parquet"])
def test_any_json_nesting_that_can_be_read_can_be_written_too(scored, workdir, output):
    """Around the limit, every depth is either refused in one line or written; none fails halfway."""

    def refused_with(depth: int) -> str:
        (workdir / "in.jsonl").write_text(f'{{"text": "good", "n": {"[" * depth}NaN{"]" * depth}}}\n')
        try:
            scored(workdir / "in.jsonl", output)
        except UserError as error:
            return str(error)
        return ""

    least, most = 100, 1000
    assert refused_with(least) == ""
    refused = refused_with(most)
    assert "in.jsonl line 1 nests lists or objects too deep" in refused
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (least, middle) if refused_with(middle) else (middle, most)
    assert {refused_with(depth) for depth in range(most - 5, most + 5)} == {"", refused}


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        ([9007199254740993, 1.5], columns.JSON),
        ([1.5, None, -9007199254740993], columns.JSON),
        ([1, 9007199254740993, 0.5], columns.JSON),
        ([9007199254740992, 1.5], pa.float64()),
        ([9007199254740993, 1], pa.int64()),
        ([2**63, 1.5], columns.JSON),
    ],
)
def test_integers_that_a_float_cannot_hold_stay_unchanged(scored, workdir, numbers, kind):
    """2 ** 53 = 9007199254740992 is the largest number up to which float64 holds every integer."""
    lines = [json.dumps({"id": number, "text": "good"}) + "\n" for number in numbers]
    (workdir / "in.jsonl").write_text("".join(lines))
    found = [json.loads(line) for line in scored(workdir / "in.jsonl", "out.jsonl").read_text().splitlines()]
    assert [row["id"] for row in found] == numbers
    scored(workdir / "in.jsonl", "out.parquet")
    assert pq.read_schema("out.parquet").field("id").type == kind


@pytest.mark.parametrize("texts", [[b"good", b"caf\xe9"], [{"a": 1}], [["a"]]], ids=["bytes", "struct", "list"])
def test_a_parquet_column_without_text_is_refused_by_both_readers(scored, workdir, texts):
    table = pa.table({"text": texts})
    pq.write_table(table, workdir / "in.parquet")
    assert refusal(scored, workdir / "in.parquet", "out.csv").startswith("in.parquet: 'text' must hold text (")
    with pytest.raises(UserError, match=r"^in.parquet: 'text' must hold text \("):
        list(read_columns(workdir / "in.parquet", ["text"], table.schema, 10))


def constant(name: str):
    raise AssertionError(f"{name} is not JSON")


def test_nan_and_infinity_become_null_in_json(scored, workdir):
    odd = [float("nan"), float("inf"), float("-inf"), 0.5]
    table = pa.table(
        {
            "text": ["good"] * 4,
            "share": odd,
            "list": [[value, 1.5] for value in odd],
            "struct": [{"a": {"b": value}} for value in odd],
            "small": pa.array(odd, pa.float32()),
        }
    )
    pq.write_table(table, workdir / "in.parquet")
    expected = [None, None, None, 0.5]
    for source in ("in.parquet", "out.jsonl"):
        path = scored(
            workdir / source, f"{source}.again.jsonl" if source == "out.jsonl" else "out.jsonl", "--prefix", source
        )
        found = [json.loads(line, parse_constant=constant) for line in path.read_text().splitlines()]
        assert [row["share"] for row in found] == expected
        assert [row["list"] for row in found] == [[value, 1.5] for value in expected]
        assert [row["struct"] for row in found] == [{"a": {"b": value}} for value in expected]
        assert [row["small"] for row in found] == expected
    scored(workdir / "in.parquet", "out.csv")
    with open("out.csv", encoding="utf-8", newline="") as file:
        lists = [json.loads(row["list"], parse_constant=constant) for row in csv.DictReader(file)]
    assert lists == [[value, 1.5] for value in expected]
    # Parquet can hold these values and keeps them.
    assert str(pq.read_table(scored(workdir / "in.parquet", "out.parquet")).column("share").to_pylist()) == str(odd)


def test_nan_and_infinity_in_json_input_become_null(scored, workdir):
    """NaN in a column of numbers, and infinity inside a list, whose column stays JSON in Parquet."""
    (workdir / "in.jsonl").write_text('{"text": "good", "n": NaN, "list": [1, -Infinity]}\n')
    found = json.loads(scored(workdir / "in.jsonl", "out.jsonl").read_text(), parse_constant=constant)
    assert (found["n"], found["list"]) == (None, [1, None])
    column = pq.read_table(scored(workdir / "in.jsonl", "out.parquet")).column("list")
    assert column.cast(pa.string()).to_pylist() == ["[1, null]"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["good", "--input", "in.csv"], "found both texts and --input in.csv; give one of them"),
        (["good", "--output", "out.csv"], "--output needs --input; answers to single texts go to stdout"),
        (["--input", "none.csv"], "none.csv is missing; expected a table in a file, such as reviews.csv"),
        (["--input", "."], "--input . is a folder; name the folder for the scored parts with --output"),
        (["--input", "/dev/zero"], "/dev/zero is a device; expected a table in a file, such as reviews.csv"),
        (
            ["--input", "in.csv", "--output", "out.xlsx"],
            "out.xlsx is in no format that can be written; expected one of .csv",
        ),
        (["--input", "in.csv", "--output", "out.csv.zip"], "out.csv.zip is in no format that can be written"),
        (
            ["--input", "in.csv", "--output", "./in.csv"],
            "in.csv is the input itself; choose another file for the output",
        ),
        (["--input", "in.csv", "--output", "none/out.csv"], "there is no folder none to write out.csv into"),
        (["--threads", "0", "good"], "--threads must be 1 to 1,024, found 0"),
        (["--threads", "99999999999", "good"], "--threads must be 1 to 1,024, found 99999999999"),
        (
            ["--model", "none", "good"],
            "none/tokenizer.json is missing; expected a folder that `dvc repro export` wrote",
        ),
        ([b"caf\xe9"], "text 1 is not UTF-8; put it in a UTF-8 file and pass that with --input"),
    ],
)
def test_a_mistake_in_the_command_is_reported_in_one_line(command, workdir, arguments, message):
    (workdir / "in.csv").write_text("text\ngood\n")
    done = command(*arguments, check=False)
    error = done.stderr.decode()
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1
    assert (done.returncode, done.stdout) == (1, b"")
    assert (workdir / "in.csv").read_text() == "text\ngood\n"


def test_stdin_that_is_not_utf_8_is_reported_with_its_line(command):
    done = command(stdin=b"good\ncaf\xe9\n", check=False)
    assert (done.returncode, done.stderr) == (1, b"error: stdin is not UTF-8 (line 2); convert it to UTF-8\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_leaves_the_earlier_output_unchanged(shipped, workdir, number):
    write_table(workdir / "in.csv", [{"text": " ".join(TEXTS[index % 30 :][:4])} for index in range(60_000)])
    (workdir / "out.csv").write_text("before")
    command = [sys.executable, "-m", "finetune.predict", "--model", shipped, "--input", "in.csv", "--output", "out.csv"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        part, ends = workdir / f".out.csv.{process.pid}.part", time.monotonic() + 60
        while not (part.exists() and part.stat().st_size) and time.monotonic() < ends:
            time.sleep(0.02)
        process.send_signal(number)
        message = process.stderr.read()
    assert process.returncode == 128 + number
    assert message == ("stopped\n" if number == signal.SIGINT else "stopped; nothing was written\n")
    assert (workdir / "out.csv").read_text() == "before"
    assert sorted(path.name for path in workdir.iterdir()) == ["in.csv", "out.csv"]


def test_a_command_stopped_after_its_first_answer_does_not_claim_that_nothing_was_written(shipped):
    command = [sys.executable, "-m", "finetune.predict", "--model", shipped]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, **pipes) as process:
        process.stdin.write(b"good film\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["label"] in NAMES
        process.terminate()
        assert process.stderr.read() == b"stopped\n"
    assert process.returncode == 128 + signal.SIGTERM


def test_two_processes_that_write_one_output_use_separate_partial_files(workdir):
    """The other process starts and ends while ours is writing; the last to finish determines the file."""
    script = (
        "import pyarrow as pa; from pathlib import Path; from finetune.predict.writer import table_writer\n"
        "table = pa.table({'text': ['theirs']})\n"
        "with table_writer(Path('out.csv'), table.schema) as write: write(table)"
    )
    ours = pa.table({"text": ["ours"]})
    with table_writer(workdir / "out.csv", ours.schema) as write:
        write(ours)
        subprocess.run(
            [sys.executable, "-c", script], cwd=workdir, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True
        )
        assert (workdir / "out.csv").read_text() == "text\ntheirs\n"
        write(ours)
    assert (workdir / "out.csv").read_text() == "text\nours\nours\n"
    assert [path.name for path in workdir.iterdir()] == ["out.csv"]


def test_the_same_table_gives_the_same_bytes(command, workdir):
    write_table(workdir / "in.csv", [{"text": text} for text in TEXTS])
    for name in ("one.csv.gz", "two.csv.gz", "one.parquet", "two.parquet"):
        command("--input", "in.csv", "--output", name)
    assert Path("one.csv.gz").read_bytes() == Path("two.csv.gz").read_bytes()
    assert Path("one.parquet").read_bytes() == Path("two.parquet").read_bytes()
    assert gzip.decompress(Path("one.csv.gz").read_bytes()).decode().count("\n") == 31


def test_reading_in_batches_loses_no_row(workdir, monkeypatch):
    """Seven rows in batches of three, passed on two at a time: 2 + 1, 2 + 1, 1."""
    from finetune.sources import bounds

    monkeypatch.setattr(bounds, "BATCH", 3)
    pq.write_table(pa.table({"text": list("abcdefg")}), workdir / "in.parquet")
    (workdir / "in.jsonl").write_text("".join(f'{{"text": "{text}"}}\n' for text in "abcdefg"))
    (workdir / "in.csv").write_text("text\n" + "\n".join("abcdefg"))
    for path in sorted(workdir.iterdir()):
        rows, schema = survey(path, ["text"])
        found = list(read_columns(path, ["text"], schema, size=2))
        assert rows == 7
        assert [len(texts) for texts, _ in found] == [2, 1, 2, 1, 1]
        assert [text for texts, _ in found for text in texts] == list("abcdefg")
        assert [text for _, table in found for text in table.column("text").to_pylist()] == list("abcdefg")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from Linux's /proc")
def test_memory_does_not_grow_with_the_table(shipped, workdir):
    """5,000 rows of about 150 characters are under 1 MB; ten times as many would add 20 MB as Python strings and lists."""
    script = (
        "from pathlib import Path; from finetune.predict.__main__ import main; main();"
        "print(next(l.split()[1] for l in Path('/proc/self/status').read_text().splitlines() if 'VmHWM' in l))"
    )
    peaks = []
    for rows in (5_000, 50_000):
        texts = [{"text": f"{TEXTS[number % 30]} {number}"} for number in range(rows)]
        write_table(workdir / "in.csv", texts)
        command = [sys.executable, "-c", script, "--model", shipped, "--input", "in.csv", "--output", "out.parquet"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=workdir)
        peaks.append(int(done.stdout) / 1024)
    assert peaks[1] - peaks[0] < 15  # MB


def test_help_says_what_the_command_does():
    done = subprocess.run(
        [sys.executable, "-m", "finetune.predict", "--help"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "one line on stdin" in done.stdout
    assert "default: models/export" in done.stdout


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("s3://KEY:HUSH@bucket/in/", "an address must not hold a password, token or signature"),
        ("s3:/bucket/in/", "s3:/bucket/in/ must have two slashes after its colon to be an address"),
    ],
)
@pytest.mark.parametrize("option", ["--input", "--output"])
def test_an_address_with_a_secret_or_with_one_slash_is_refused(command, option, name, message):
    other = {"--input": "--output=out.csv", "--output": "--input=in.csv"}[option]
    done = command(option, name, other, check=False)
    assert done.returncode == 1
    assert done.stderr.decode().startswith(f"error: {message}")
    assert b"HUSH" not in done.stderr
