"""Text of others on a terminal and in the log of a CI job."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.base.terminal import LONGEST, printable, say, say_lines
from tests.base.test_command import program

# As runners take commands from a line: GitHub's `TryParseV2` trims it and looks at its start, the others search the line.
COMMAND = re.compile(r"\A\s*::|##\[|##vso\[|##teamcity\[", re.IGNORECASE)
HOSTILE = st.text(
    st.sampled_from("a:#[]vso \t\n\r\x1b\x07\x85\x9b\u2028\u202e\u2066\ud800好|\\") | st.characters(), max_size=80
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("negative, 好, é, 👩\u200d💻, a\u00a0b", "negative, 好, é, 👩\u200d💻, a\u00a0b"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]52;c;ZXZpbA==\x07", "\\x1b]52;c;ZXZpbA==\\x07"),
        ("\x1b]8;;http://evil\x1b\\here", "\\x1b]8;;http://evil\\x1b\\here"),
        ("\x9b2J", "\\x9b2J"),
        ("a\u202eb\u2066c\u2069", "a\\u202eb\\u2066c\\u2069"),
        ("one\ntwo\r\nthree\u2028four", "one\\ntwo\\r\\nthree\\u2028four"),
        ("half \ud83d", "half \\ud83d"),
        ("::error::x", "\\x3a:error::x"),
        ("  ::set-output name=a::b", "  \\x3a:set-output name=a::b"),
        ("std::vector", "std::vector"),
        ("a ##[group]b", "a \\x23#[group]b"),
        ("a ##VSO[task.setvariable]b", "a \\x23#VSO[task.setvariable]b"),
        ("## heading", "## heading"),
    ],
)
def test_what_would_do_more_than_show_itself_is_an_escape(text, shown):
    assert printable(text) == shown


@given(HOSTILE)
def test_a_line_is_printable_and_no_command_whatever_it_holds(text):
    line = printable(text)
    assert len(line.splitlines()) <= 1
    assert not any(
        unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        for letter in line
        if letter not in "\u200c\u200d"
    )
    assert not COMMAND.search(line)


@given(st.text(st.sampled_from("a\x1b##[:好"), min_size=150, max_size=300), st.integers(60, 200))
def test_a_line_has_a_bound(text, longest):
    line = printable(text, longest)
    assert len(line) <= longest or len(line) <= 0.94 * longest + len("… 300 characters left out …")
    assert not COMMAND.search(line)


def test_the_middle_of_a_long_line_is_left_out_and_counted():
    """600 characters of the start and 340 of the end stay: of 600 + 10**6 + 340 a million are left out."""
    line = printable("s" * 600 + "m" * 10**6 + "e" * 340)
    assert line == "s" * 600 + "… 1,000,000 characters left out …" + "e" * 340
    assert len(line) <= LONGEST


def test_escapes_count_toward_the_length():
    """An escape has 4 characters: 600 hold 150 of them, and 340 hold 85, so 1,000 - 235 are left out."""
    assert printable("\x1b" * 1_000) == "\\x1b" * 150 + "… 765 characters left out …" + "\\x1b" * 85


def test_lines_of_a_table_are_printable_one_by_one(capsys):
    say_lines("a  b\n\n::error::x\r##[group]")
    say("one\ntwo")
    assert capsys.readouterr().out == "a  b\n\n\\x3a:error::x\n\\x23#[group]\none\\ntwo\n"


def test_a_mistake_is_one_printable_line_of_bounded_length():
    done = program('raise UserError("column \\x1b[2J\\n::error::" + "x" * 10**7 + "; rename it")')
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: column \\x1b[2J\\n::error::xxx")
    assert done.stderr.endswith("x; rename it\n")
    assert done.stderr.count("\n") == 1
    assert len(done.stderr) <= LONGEST


@pytest.mark.parametrize("mistake", [1, 2])
def test_the_traceback_of_a_bug_commands_no_terminal_and_no_runner(mistake):
    done = program('raise RuntimeError("\\x1b[2J\\n::error::x\\n##[group]" + "x" * 10**6)', mistake)
    assert done.returncode == mistake
    assert "RuntimeError: \\x1b[2J\n\\x3a:error::x\n\\x23#[group]" in done.stderr
    assert len(done.stderr) < 3 * LONGEST


def test_a_request_to_stop_is_one_printable_line():
    done = program('from finetune.base.errors import Stopped; raise Stopped("a\\x1b[2J\\nb", 130)')
    assert (done.returncode, done.stderr) == (130, "a\\x1b[2J\\nb\n")
