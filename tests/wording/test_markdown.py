"""Text of others in Markdown, rendered by a parser of CommonMark and its tables."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from finetune.wording.markdown import code, line_of, plain, table

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
TEXTS = st.text(
    st.sampled_from("ab1 \\`*_[]()<>!&;|~$#@:/.-+=\n\t\"'好") | st.characters(exclude_categories=["Cs"]), max_size=40
)
SENTENCES = [
    "<script>alert(1)</script> & &lt; <b>",
    "![x](http://evil/x.png) [x](javascript:alert(1)) <http://evil> https://evil www.evil.com a@evil.com",
    "@someone #12 GH-12 owner/repo#12 owner/repo@abcdef0",
    "# no heading",
    "- no list",
    "12. no list",
    "1) no list",
    "> no quotation",
    "`a` ``b` *c* __d__ ~~e~~ $f$ | g |",
    "====",
    "---",
    "a \\` b \\",
    "    no code",
]


def shown(page: str) -> str:
    """The text that a page of HTML shows."""
    return html.unescape(re.sub(r"<[^>]*>", "", page)).replace("\u200b", "").strip()


def check_sentence(text: str):
    """A paragraph shows the text and has no other element."""
    page = MARKDOWN.render(plain(text))
    assert re.fullmatch(r"(<p>[^<>]*</p>\n)?", page), page
    assert shown(page) == line_of(text).replace("\u200b", "")


@pytest.mark.parametrize("text", SENTENCES)
def test_a_sentence_shows_its_characters_and_nothing_else(text):
    check_sentence(text)


@given(TEXTS)
def test_any_sentence_shows_its_characters_and_nothing_else(text):
    check_sentence(text)


def test_a_sentence_notifies_nobody_and_links_to_nothing():
    """GitHub looks for these after Markdown is rendered, so a backslash does not help."""
    text = plain("@someone #12 GH-12 https://evil www.evil.com a@evil.com")
    assert not re.search(r"@\w|#\d|GH-\d|://|www\.", text.replace("\\", ""))


@given(TEXTS, TEXTS)
def test_any_text_stays_in_its_cell(one, other):
    page = MARKDOWN.render(table(["first", "second"], [[code(one), code(other)]]))
    cells = re.findall(r"<td[^>]*>(.*?)</td>", page, re.DOTALL)
    expected = [line_of(text).replace("`", "'").replace("\\|", "\\ |") for text in (one, other)]
    assert [shown(cell) for cell in cells] == [text.strip() for text in expected]
    assert all(re.fullmatch(r"<code>[^<>]*</code>|", cell) for cell in cells)


def test_a_label_in_code_is_as_it_is():
    assert code("::error::a  ##[group]") == "`::error::a ##[group]`"
    assert code("a\x1b[31m\u202eb") == "`a\\x1b[31m\\u202eb`"
    assert code(" ") == ""
