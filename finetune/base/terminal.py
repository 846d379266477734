"""Text from data, files and addresses on a terminal or in the log of a CI job: one printable line of bounded length.

A name may hold escape sequences that move the cursor, write to the clipboard or recolour the screen, characters that
reorder a line, or a command to the runner of a CI job. None of them reaches the output as it is.
"""

import re
import traceback
import unicodedata
from itertools import accumulate
from typing import TextIO

from finetune.base.names import JOINERS

LONGEST = 1_000  # characters of a line
# Parts of a longer line that stay: the start says what was found, the end what to do. The rest is for the count between them.
START, END = 0.6, 0.34
UNPRINTABLE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, format characters, surrogates, line and paragraph separators
# The runners of GitHub, Azure Pipelines and TeamCity take commands from `##[`, `##vso[` and `##teamcity[` anywhere in a line,
# GitHub's also from `::` at its start. https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions
ANYWHERE = re.compile(r"#(?=#(?:vso|teamcity)?\[)", re.IGNORECASE)
AT_START = re.compile(r"\s*(:)(?=:)")


def printable(text: object, longest: int = LONGEST, commands: bool = False) -> str:
    """The text as one line that a terminal and a CI job only show.

    A character that would do more is written as an escape: a line feed as "\\n", ESC as "\\x1b". Of a line of more than
    `longest` characters the middle is left out, and the number of characters left out stands there. With `commands`, those to
    a CI job stay as they are, for a file.
    """
    text = str(text)
    if len(text) <= longest:
        line = "".join(escapes(text, commands))
        if len(line) <= longest:
            return line
    head, tail = escapes(text[:longest], commands), escapes(text[-longest:], commands)
    first, last = fitting(head, START * longest), fitting(reversed(tail), END * longest)
    left_out = f"… {len(text) - first - last:,} characters left out …"
    return "".join([*head[:first], left_out, *tail[len(tail) - last :]])


def escapes(text: str, commands: bool) -> list[str]:
    """Each character of a line as it may be printed, `commands` to a CI job included or not."""
    pieces = [escape(letter) if unsafe(letter) else letter for letter in text]
    if not commands:
        places = [match.start() for match in ANYWHERE.finditer(text)]
        places += [match.start(1) for match in [AT_START.match(text)] if match]
        for place in places:
            pieces[place] = f"\\x{ord(text[place]):x}"
    return pieces


def unsafe(letter: str) -> bool:
    """Whether a terminal would do something else with a character than show it."""
    return not letter.isprintable() and letter not in JOINERS and unicodedata.category(letter) in UNPRINTABLE


def escape(letter: str) -> str:
    """A character as Python's source code has it."""
    return letter.encode("unicode_escape").decode()


def fitting(pieces, room: float) -> int:
    """How many of the pieces, from the first, fit into so many characters."""
    return sum(length <= room for length in accumulate(map(len, pieces)))


def say(text: object, file: TextIO | None = None, flush: bool = False):
    """Prints one line, `printable`, on stdout or another stream; nothing else in this project prints."""
    print(printable(text), file=file, flush=flush)


def say_lines(text: str, file: TextIO | None = None):
    """Prints the lines of a text of our own, such as a table, each `printable`."""
    for line in text.splitlines():
        say(line, file)


def say_traceback(file: TextIO):
    """Prints the traceback of the exception that is being handled; its message may quote data."""
    say_lines(traceback.format_exc(), file)
