"""Tables that stages write read back equal."""

import csv
import os
import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.base.errors import UserError
from finetune.base.files import read_json, replace_text, replacing, write_csv

# Every way to end a line, separators, quotes, control characters; and any other text that UTF-8 can hold.
TEXTS = st.text(st.sampled_from("a,;\t\"'\r\n\v\f\x00\x1c\x1d\x1e\x85\u2028\u2029 ")) | st.text(
    st.characters(exclude_categories=["Cs"])
)


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=5))
def test_every_text_reads_back_from_csv(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "table.csv"
    write_csv(path, ["one", "two"], rows)
    with path.open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file, strict=True)) == [["one", "two"], *map(list, rows)]


def test_lines_end_in_a_line_feed_alone(tmp_path):
    write_csv(tmp_path / "table.csv", ["one"], [["a"], ["b\rc"]])
    assert (tmp_path / "table.csv").read_bytes() == b'one\na\n"b\rc"\n'


def test_a_json_file_of_gigabytes_is_refused_before_it_is_read(tmp_path, monkeypatch):
    """A hole of 10 GB takes no room on the disk."""
    monkeypatch.setattr("finetune.base.files.LONGEST", 1_000)
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(10_000_000_000)
    with pytest.raises(UserError, match="config.json has more than 1,000 characters, so it is not what belongs there"):
        read_json(path)


@pytest.mark.parametrize("content", ["[" * 100_000, "9" * 5_000, "{", ""])
def test_json_that_cannot_be_read_is_a_value_error(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match="nests|digits|Expect"):
        read_json(tmp_path / "config.json")


def test_a_json_file_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(UserError, match="config.json is a pipe, expected a file; move it away"):
        read_json(tmp_path / "config.json")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path, link = tmp_path / "page.html", tmp_path / "link.html"
    path.write_text("earlier")
    path.chmod(0o640)
    link.symlink_to("page.html")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OSError, match=f"File too large: '{path}'"):
            replace_text(path, "x" * 100_000)
        with pytest.raises(ZeroDivisionError), replacing(path) as part:
            part.write_text(str(1 / 0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text() == "earlier"
    replace_text(link, "later")
    assert (path.read_text(), path.stat().st_mode & 0o777, link.is_symlink()) == ("later", 0o640, True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link.html", "page.html"]


def test_a_pipe_gets_the_text_as_it_comes(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    replace_text(tmp_path / "pipe", "text")
    assert os.read(reader, 10) == b"text"
    os.close(reader)


def test_a_missing_folder_is_named_as_the_file_was_given(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"'{tmp_path}/none/page.html'"):
        replace_text(tmp_path / "none/page.html", "text")
