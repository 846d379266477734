"""Tables that stages write read back equal."""

import csv

from hypothesis import given
from hypothesis import strategies as st

from finetune.base.files import write_csv

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
