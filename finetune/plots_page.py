"""The page that `dvc plots show` and `dvc plots diff` fill, with the chart libraries embedded: it opens without a network.

    python -m finetune.plots_page       (make does it once)

DVC's own page loads its libraries from the network. The page is named in .dvc/config.local, not in .dvc/config: DVC
fails if that page is missing, and a fresh clone has none.

writes  .dvc/plots.html, .dvc/config.local
"""

from pathlib import Path

import vl_convert
from dvc.config import Config

from finetune.base.command import run
from finetune.base.errors import UserError
from finetune.base.files import replace_text
from finetune.base.terminal import say

DVC = Path(".dvc")
PAGE = DVC / "plots.html"
TEMPLATE = Path(__file__).parent / "html/plots.html"


def plots_page() -> str:
    """The page with Vega, Vega-Lite and Vega-Embed in a script; DVC replaces {plot_divs} by its charts."""
    return TEMPLATE.read_text(encoding="utf-8").replace("{libraries}", vl_convert.javascript_bundle())


def main():
    if not DVC.is_dir():
        raise UserError(".dvc is missing; run this from the project's root")
    replace_text(PAGE, plots_page())
    try:
        with Config(dvc_dir=str(DVC)).edit("local") as config:
            # A page that the user configured is kept.
            config.setdefault("plots", {}).setdefault("html_template", PAGE.name)
    except BaseException:
        PAGE.unlink()  # or make would take this as done
        raise
    say(f"{PAGE}: `dvc plots` needs no network now")


if __name__ == "__main__":
    raise SystemExit(run(main, usage=__doc__))
