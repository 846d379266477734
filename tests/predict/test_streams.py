"""stdin and stdout that are closed, empty, full, a terminal or a pipe in place of a table: one line each, and no hang."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.random_export import NAMES


@pytest.fixture
def shell(shipped, workdir):
    """Function that runs `predict` in a shell, so that it can be given any stream; in.csv holds one text."""
    (workdir / "in.csv").write_text("text\ngood film\n")

    def run(line: str) -> subprocess.CompletedProcess:
        command = f"{sys.executable} -m finetune.predict --model {shipped} --threads 1"
        return subprocess.run(
            ["bash", "-c", line.replace("predict", command, 1)], capture_output=True, text=True, timeout=60, check=False
        )

    return run


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "head -c 20000000 /dev/zero | tr '\\0' x | predict",
            "stdin line 1 has more than 10,000,000 bytes; expected one text per line",
        ),
        (
            "predict <&-",
            "no text to classify, stdin is closed; give texts, --input FILE, or one text per line on stdin",
        ),
        (
            "predict good >&-",
            "stdout is closed, so the answers have nowhere to go; give --input FILE and --output FILE",
        ),
        ("predict --input in.csv >&-", "stdout is closed, so the answers have nowhere to go"),
        ("predict good > /dev/full", "[Errno 28] No space left on device"),
        ("mkfifo in.jsonl; predict --input in.jsonl", "in.jsonl is a pipe; expected a table in a file"),
        ("predict --input <(cat in.csv)", "is a pipe; expected a table in a file"),
        ("mkfifo out.csv; predict --input in.csv --output out.csv", "out.csv is a pipe; choose another file"),
        ("ln -s none.csv link.csv; predict --input link.csv", "link.csv is a broken link; expected a table"),
        ("cat in.csv | iconv -t UTF-16 | predict", "stdin is UTF-16; save it as UTF-8"),
    ],
)
def test_a_stream_that_cannot_be_used_is_reported_in_one_line(shell, line, message):
    done = shell(line)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_table_is_written_whatever_streams_are_closed(shell, workdir, closed):
    done = shell(f"predict --input in.csv --output out.jsonl {closed}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert json.loads((workdir / "out.jsonl").read_text())["label"] in NAMES


def test_an_empty_stdin_gives_no_answer_and_says_so(shell):
    done = shell("predict < /dev/null")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "stdin is empty, so there is no answer\n")


def test_a_terminal_is_not_waited_for(shipped):
    import pty

    ours, theirs = pty.openpty()
    try:
        command = [sys.executable, "-m", "finetune.predict", "--model", shipped]
        done = subprocess.run(command, stdin=theirs, capture_output=True, text=True, timeout=60, check=False)
    finally:
        os.close(ours)
        os.close(theirs)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: no text to classify, stdin is a terminal; give texts, --input FILE, or one text per line on stdin\n"
    )
