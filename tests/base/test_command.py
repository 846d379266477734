"""How every program here starts and ends."""

import os
import subprocess
import sys

import pytest

from finetune.base.command import Parser

PROGRAM = """
from finetune.base.command import run
from finetune.base.errors import UserError

def main():
    {body}

raise SystemExit(run(main, mistake={mistake}))
"""


def program(body: str, mistake: int = 1, **environment: str) -> subprocess.CompletedProcess:
    """A small program that ends through `run`, in an environment of its own."""
    code = PROGRAM.format(body=body, mistake=mistake)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ | environment
    )


def test_a_mistake_ends_in_one_line():
    done = program('raise UserError("found 1, expected 2")')
    assert (done.returncode, done.stderr) == (1, "error: found 1, expected 2\n")


@pytest.mark.parametrize("mistake", [1, 2])
def test_a_bug_keeps_its_traceback_and_never_looks_like_a_verdict(mistake):
    """Status 1 of the gate means that a score falls short; a bug there ends with 2."""
    done = program("1 / 0", mistake)
    assert done.returncode == mistake
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.parametrize(
    "environment", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_an_output_that_is_not_utf_8_shows_other_characters_escaped(environment):
    done = program('print("negative \\u2026 \\u597d"); raise UserError("\\u597d")', **environment)
    assert (done.returncode, done.stdout, done.stderr) == (1, "negative \\u2026 \\u597d\n", "error: \\u597d\n")


def test_output_that_nobody_reads_any_more_is_no_error():
    command = PROGRAM.format(body="print(*range(10**6), sep=chr(10))", mistake=1)
    done = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" | head -1; exit "${PIPESTATUS[0]}"', sys.executable, command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (141, "0\n", "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_leaves_no_number_free_for_the_files_of_a_command(tmp_path, closed):
    """What a library prints to stderr by its number, 2, must not end up in a file."""
    body = "import os, sys; file = open('out', 'w'); os.write(2, b'warning'); print('error', file=sys.stderr); file.write('data')"
    code = PROGRAM.format(body=body, mistake=1)
    done = subprocess.run(
        ["bash", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == ("" if "2>" in closed else "warningerror\n")
    assert (tmp_path / "out").read_text() == "data"


def test_a_mistake_is_not_reported_on_stdout_if_stderr_is_closed():
    code = PROGRAM.format(body='raise UserError("found 1")', mistake=1)
    command = ["bash", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize("argument", ["--to=--", "-S--"])
def test_an_option_whose_value_is_two_hyphens_has_none(capsys, argument):
    """argparse (Python 3.11) drops them, and gives an empty list in place of a value."""
    parser = Parser(prog="command")
    parser.add_argument("--to")
    parser.add_argument("-S", "--set")
    with pytest.raises(SystemExit) as ended:
        parser.parse_args([argument])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {argument} has no value; `command --help` lists what is allowed\n"
    assert parser.parse_args(["--to=-"]).to == "-"
