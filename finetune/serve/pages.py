"""The HTML pages: one to try the model on a text, and the model card."""

from html import escape
from pathlib import Path
from string import Template

from markdown_it import MarkdownIt

from finetune.serve.task import OneLabel, SeveralLabels

HTML = Path(__file__).parents[1] / "html"
ASSETS = {
    "report.css": "text/css",
    "serve.css": "text/css",
    "serve.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


def asset(name: str) -> bytes:
    """Content of a file that the pages load."""
    return (HTML / name).read_bytes()


def filled(template: str, **values: str) -> str:
    """A page with its placeholders replaced by HTML."""
    return Template((HTML / template).read_text(encoding="utf-8")).substitute(values)


def card_text(folder: Path) -> str | None:
    """The model card's Markdown without its metadata; None if the folder has no card."""
    path = folder / "README.md"
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8")
    if text.startswith("---\n"):
        text = text.partition("\n---\n")[2]
    return text.strip()


def card_title(card: str | None) -> str:
    """The card's first heading."""
    titles = (line[2:].strip() for line in (card or "").splitlines() if line.startswith("# "))
    return next(titles, "Text classifier")


def text_boxes(columns: list[str] | None) -> str:
    """The box for a text, or one for each of its columns."""
    box = '<textarea id="{id}" rows="5" autocomplete="off" aria-describedby="hint"{column}></textarea>'
    if columns is None:
        return f'<label for="text">Your text</label>\n  {box.format(id="text", column="")}'
    boxes = []
    for number, name in enumerate(columns):
        id, shown = "text" if number == 0 else f"text-{number}", escape(name)
        column = f' data-column="{shown}"'
        boxes += [f'<label for="{id}">{shown}</label>', box.format(id=id, column=column)]
    return "\n  ".join(boxes)


def try_page(
    card: str | None,
    task: OneLabel | SeveralLabels,
    max_characters: int,
    max_length: int,
    locked: bool,
    columns: list[str] | None = None,
) -> str:
    """The page to try the model; on a `locked` server it also asks for the token."""
    return filled(
        "serve.html",
        title=escape(card_title(card)),
        question=task.question,
        start=task.start,
        labels=", ".join(f"<b>{escape(label)}</b>" for label in task.labels),
        rule=f" {escape(task.rule)}" if task.rule else "",
        texts=text_boxes(columns),
        characters=str(max_characters),
        tokens=str(max_length),
        card='<a href="card">Model card</a>' if card else "",
        token="" if locked else "hidden",
    )


def card_page(card: str) -> str:
    """The model card as a page; HTML in the Markdown is shown as text."""
    body = MarkdownIt("js-default").render(card)
    # The content security policy forbids inline styles. In the card's own text these quotes are escaped, so only the
    # renderer's attributes match.
    body = body.replace(' style="text-align:right"', ' class="number"').replace(' style="text-align:left"', "")
    # Wide tables and code scroll instead of the page, also by keyboard.
    body = body.replace("<table>", '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>')
    body = body.replace("</table>", "</table></div>").replace("<pre>", '<pre class="scroll" tabindex="0">')
    return filled("card.html", title=escape(card_title(card)), card=body)
