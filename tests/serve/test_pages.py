"""The server's pages as a person uses them: in a real browser, by mouse and by keyboard, wide, narrow, light and dark."""

import re

import pytest

from tests.support.browser import Opened, chromium
from tests.support.server import running

pytestmark = pytest.mark.xdist_group("serve")

HOSTILE = "<img src=x onerror='window.hacked = 1'> great & \"moving\" film"


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def server(learnt):
    with running(learnt, "--max-characters", "2000") as found:
        yield found


def classified(page, text: str):
    """The page after it has classified a text."""
    page.get_by_label("Your text").fill(text)
    with page.expect_response("**/explain"):
        page.get_by_role("button", name="Classify").click()
    page.locator("#result, #problem:visible").first.wait_for()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "light"), (360, "dark")])
def test_a_text_shows_its_class_its_probability_and_its_words(browser, server, width, scheme):
    text = "the plot is dull and awful with a great actor"
    expected = server.post("/explain", {"text": text})[1]
    with Opened(browser, server.address, width, scheme) as opened:
        page = opened.page
        classified(page, text)
        assert page.inner_text("#verdict") == expected["label"] == "bad"
        assert (
            page.inner_text("#confidence") == f"with a calibrated probability of {100 * expected['probability']:.1f}%"
        )
        bars = page.locator("#probabilities > div").all_inner_texts()
        assert [bar.split()[0] for bar in bars] == ["bad", "good"]
        assert page.inner_text("#words") == text
        towards = page.locator("#words .toward").all_text_contents()
        assert {"dull", "awful"} <= set(towards)
        assert "great" in page.locator("#words .against").all_text_contents()
        # Shown by more than colour: a line, an arrow, the number.
        great = page.locator("#words .against", has_text="great")
        assert "dotted" in great.evaluate("word => getComputedStyle(word).textDecoration")
        push = next(part["push"] for part in expected["parts"] if part["text"] == "great")
        assert great.get_attribute("title") == f"\N{MINUS SIGN}{-100 * push:.1f} points"
        table = {row.split("\t")[0]: row.split("\t")[1:] for row in page.locator("#strongest tr").all_inner_texts()}
        assert table["great"] == ["▼ away from bad", f"\N{MINUS SIGN}{-100 * push:.1f}"]
        assert table["dull"][0] == "▲ towards bad"
        assert not opened.is_too_wide()
        assert opened.problems == []


def test_it_works_by_keyboard_alone(browser, server):
    with Opened(browser, server.address) as opened:
        page = opened.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "text"
        page.keyboard.type("a great film")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        page.keyboard.press("Control+Enter")
        page.locator("#result").wait_for()
        assert page.inner_text("#verdict") == "good"
        assert page.locator("[aria-live] #verdict").count() == 1
        # A plain Enter is a new line of the text.
        page.keyboard.press("Enter")
        assert page.get_by_label("Your text").input_value() == "a great film\n"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Classify"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "words"


def test_markup_in_a_text_is_shown_and_never_run(browser, server):
    with Opened(browser, server.address) as opened:
        classified(opened.page, HOSTILE)
        assert opened.page.inner_text("#words") == HOSTILE
        assert opened.page.evaluate("window.hacked") is None
        assert opened.page.locator("main img").count() == 0
        assert opened.problems == []


def test_a_long_text_shows_what_was_not_seen_and_a_too_long_one_the_limit(browser, server):
    with Opened(browser, server.address, 360) as opened:
        page = opened.page
        classified(page, "film " * 100 + "great")
        assert page.locator("#cut").is_visible()
        assert page.locator("#words .unseen").inner_text().endswith("great")
        assert not opened.is_too_wide()
        page.get_by_label("Your text").fill("🎬" * 2000)
        assert page.inner_text("#count") == "2000 of 2000 characters."
        page.get_by_label("Your text").fill("🎬" * 2001)
        page.get_by_role("button", name="Classify").click()
        assert page.get_by_role("alert").inner_text() == "The text has 2001 characters; the limit is 2000."
        assert not page.locator("#result").is_visible()
        classified(page, "x" * 1500)
        assert not opened.is_too_wide()
        assert opened.problems == []


def test_an_empty_text_and_a_stopped_server_are_reported_in_words(browser, learnt):
    with running(learnt) as server, Opened(browser, server.address) as opened:
        page = opened.page
        page.get_by_role("button", name="Classify").click()
        assert page.get_by_role("alert").inner_text() == "There is no text yet. Type or paste one."
        server.stop()
        page.get_by_label("Your text").fill("a film")
        page.get_by_role("button", name="Classify").click()
        page.get_by_text("The server cannot be reached").wait_for()


@pytest.mark.parametrize(
    ("status", "kind", "body", "reason"),
    [
        (
            500,
            "text/plain; charset=utf-8",
            "Internal Server Error",
            "text/plain; charset=utf-8 arrived instead of the expected JSON",
        ),
        (502, "text/html", "<h1>Bad Gateway</h1>", "text/html arrived instead of the expected JSON"),
        (200, "text/html", "<h1>Please sign in</h1>", "text/html arrived instead of the expected JSON"),
        (504, "application/json", '{"message": "timed out"}', "application/json arrived instead of the expected JSON"),
        (503, "application/json", '{"detail": "try again later"}', "try again later"),
    ],
)
def test_an_unexpected_response_is_described(browser, server, status, kind, body, reason):
    with Opened(browser, server.address) as opened:
        page = opened.page
        page.route("**/explain", lambda route: route.fulfill(status=status, content_type=kind, body=body))
        classified(page, "a great film")
        page.get_by_text(f"The server did not answer ({status}): {reason}").wait_for()
        assert not page.locator("#result").is_visible()
        page.unroute("**/explain")
        classified(page, "a great film")
        page.locator("#result").wait_for()
        assert not page.get_by_role("alert").is_visible()


def test_a_server_with_a_token_asks_for_it(browser, learnt):
    with running(learnt, SERVE_TOKEN="secret") as server, Opened(browser, server.address) as opened:
        page = opened.page
        classified(page, "a great film")
        assert "401" in page.get_by_role("alert").inner_text()
        page.get_by_label("Access token").fill("secret")
        classified(page, "a great film")
        page.locator("#result").wait_for()
        assert page.inner_text("#verdict") == "good"
        assert not page.get_by_role("alert").is_visible()


def test_without_a_token_none_is_asked_for(browser, server):
    with Opened(browser, server.address) as opened:
        assert not opened.page.get_by_label("Access token").is_visible()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_the_card_is_one_click_away(browser, server, learnt, width, scheme):
    with Opened(browser, server.address, width, scheme) as opened:
        opened.page.get_by_role("link", name="Model card").click()
        opened.page.wait_for_url("**/card")
        assert opened.page.inner_text("main h1") == "tiny-reviews"
        tables = re.findall(r"^\|[|:-]+$", (learnt / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
        assert opened.page.locator("main table").count() == len(tables) > 2
        assert "pipeline_tag" not in opened.page.inner_text("main")  # metadata is for the Hub
        assert not opened.is_too_wide()
        opened.page.get_by_role("link", name="Try the model").click()
        opened.page.get_by_label("Your text").wait_for()
        assert opened.problems == []


def test_the_api_is_documented_without_a_network(browser, server):
    with Opened(browser, server.address) as opened:
        opened.page.get_by_role("link", name="API").click()
        opened.page.get_by_text("/predict").first.wait_for()
        assert opened.page.get_by_text("/explain").first.is_visible()
        assert opened.problems == []
