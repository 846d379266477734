"""One page about the model, to be read, sent and archived: report.html needs no network and no server.

python -m finetune.report                   (make report)
python -m finetune.report --against main    (make report AGAINST=main)

reads   metrics/, params.yaml, and data/predictions/ and data/tokenized/ if they exist
writes  report.html
"""

from pathlib import Path

from finetune.base.command import Parser, run
from finetune.base.files import plain_file, replace_text
from finetune.base.terminal import say
from finetune.report.page import content, rendered
from finetune.results.revisions import Revision, typed

REPORT = Path("report.html")


def main():
    parser = Parser(prog="python -m finetune.report", description=__doc__.partition("\n")[0])
    parser.add_argument("--against", metavar="REVISION", help="a branch, tag or commit to compare with")
    chosen = parser.parse_args()
    page = rendered(content(Revision(typed(chosen.against)) if chosen.against is not None else None))
    replace_text(plain_file(REPORT), page)
    say(f"{REPORT}: {len(page.encode()) / 1000:.0f} kB; open it in any browser")


if __name__ == "__main__":
    raise SystemExit(run(main))
