"""README and the pages in docs/ against the project: nothing is missing, nothing is invented."""

import ast
import re
import shlex
import shutil
import subprocess
from fnmatch import fnmatch
from importlib.util import find_spec
from xml.etree import ElementTree

import pytest
import yaml

from docs import readme
from docs.readme import DECISIONS, FLOORS, ROW, SCORES, defaults, modules_page, shown, with_defaults, with_scores
from finetune.base.errors import UserError
from finetune.base.params import check_params
from finetune.base.yaml_file import parse_yaml, parse_yaml_text
from finetune.gate.thresholds import CANNOT_TELL, FALLS_SHORT, HOLDS
from finetune.results.metrics import read_metrics
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
PARAMETERS = (ROOT / "docs/parameters.md").read_text(encoding="utf-8")
PAGES = {
    path: path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CHANGELOG.md"]
}
LOGS = {"benchmarks.md", "decisions.md", "CHANGELOG.md"}  # they also name commands of the past
SHOWN = "\n".join(text for path, text in PAGES.items() if path.name not in LOGS)
RECORD = ROOT / "docs/default_run"  # the docs describe this run, whatever the workspace holds
PARAMS = parse_yaml(RECORD / "params.yaml")
PIPELINE = parse_yaml_text((ROOT / "dvc.yaml").read_text(encoding="utf-8"), "test")
FENCED = re.compile(r"^ *```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")
OUT_OF_DATE = "the docs differ from docs/default_run; run `make readme`"
LAYOUT = re.compile(r"(?:\S+ )*\S+(?=  )")  # the names in a line of the layout: all before two spaces


def section(title: str) -> str:
    """Text under a heading of README or of a page in docs/; the title of a page means the whole page."""
    heading = re.compile(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
    for text in PAGES.values():
        if text.startswith(f"# {title}\n"):
            return text
        if match := heading.search(text):
            return match[1]
    raise AssertionError(f"no heading {title!r}")


def code(text: str) -> list[str]:
    """Text in backticks."""
    return INLINE.findall(text)


def table(title: str, first: str) -> list[list[str]]:
    """Cells of the rows of the table under a heading whose first column is called `first`."""
    rows = re.search(rf"^\| {re.escape(first)} \|.*\n\|[ |-]+\|\n((?:\|.*\n)+)", section(title), re.MULTILINE)
    assert rows, f"no table {first!r} under {title!r}"
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in rows[1].splitlines()]


def first_column(title: str, first: str) -> list[str]:
    """Names in backticks in the first column of a table."""
    return [name for row in table(title, first) for name in code(row[0])]


def commands(program: str) -> list[str]:
    """Commands in README and docs, in blocks or in the text, without comments."""
    lines = [line for block in FENCED.finditer(SHOWN) for line in block["text"].splitlines()]
    shown = [line.split("  #")[0].strip() for line in [*lines, *code(FENCED.sub("", SHOWN))]]
    return [line for line in shown if line.split(" ")[0] == program]


def links(text: str) -> list[str]:
    """Links of a page to files of the project."""
    return [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]


def anchors(page: str) -> set[str]:
    """Names under which GitHub links to the headings of a page: `## What is a good `ece`?` -> "what-is-a-good-ece"."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def layout() -> tuple[set[str], set[str]]:
    """Names in the layout: those at the top of the project, and those in finetune/; folders without their slash."""
    top, inside = set(), set()
    for line in FENCED.search(section("Layout"))["text"].splitlines():
        names = {name.strip(",").split("/")[0] for name in LAYOUT.match(line.strip())[0].split()}
        (inside if line.startswith("  ") else top).update(names)
    return top, inside


def test_every_make_target_is_shown_and_no_other():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE)) - {"help"}
    listed = {name.split()[1] for name in first_column("Two commands", "command") if name != "make"}
    assert listed == targets
    assert {command.split()[1] for command in commands("make") if command != "make"} <= targets


def test_every_stage_is_shown_with_all_that_it_writes():
    assert first_column("The seven stages", "stage") == list(PIPELINE["stages"])
    for name, _, written in table("The seven stages", "stage"):
        stage = PIPELINE["stages"][name.strip("`")]
        metrics = [path for entry in stage.get("metrics", []) for path in entry]
        assert [path.rstrip("/") for path in code(written)] == [*stage["outs"], *metrics]


def test_every_parameter_is_explained_and_no_other():
    assert first_column("Parameters", "key") == list(defaults(PARAMS))


def test_scores_and_defaults_are_those_of_the_recorded_default_run():
    assert SCORES.search(README), "no block with the scores"
    assert len(ROW.findall(PARAMETERS)) == len(defaults(PARAMS))
    assert with_scores(README, read_metrics(RECORD / "metrics")) == README, OUT_OF_DATE
    assert with_defaults(PARAMETERS, PARAMS) == PARAMETERS, OUT_OF_DATE


def test_wrong_numbers_are_replaced_and_equal_ones_in_another_notation_stay():
    params = {"train": {"lr": 3e-5, "epochs": 3}, "gate": {"test.f1": {"min": 0.5}}}
    text = "| `train.lr` | `3.0e-5` | x |\n| `train.epochs` | `2` | of `n` |\n| `gate.test.f1` | `{min: 0.50}` | y |\n"
    assert with_defaults(text, params) == text.replace("`2`", "`3`")
    assert shown("a" * 99) == "a" * 59 + "…"


def test_every_recipe_is_shown_and_no_other():
    recipes = {path.stem for path in (ROOT / "recipes").glob("*.yaml")}
    assert set(first_column("Recipes", "recipe")) == recipes
    named = re.findall(r"(?:NAME=|finetune\.recipe )([a-z][a-z0-9-]*)", SHOWN)
    assert named
    assert set(named) <= recipes


def test_every_metrics_file_is_explained_and_no_other():
    listed = first_column("Metrics files", "file")
    assert listed == [
        path for stage in PIPELINE["stages"].values() for entry in stage.get("metrics", []) for path in entry
    ]


def test_the_layout_names_every_folder_and_every_top_level_file_and_no_other():
    top, inside = layout()
    assert inside == {name for name in FLOORS if (ROOT / "finetune" / name).is_dir()} | {"html"}
    in_git = (ROOT / ".git").exists()
    command = ["git", "ls-files"] if in_git else ["ls"]
    files = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    names = {name.split("/")[0] for name in files if not name.startswith(".")}
    assert {pattern for pattern in top if not any(fnmatch(name, pattern) for name in names)} == set()
    # A file of your own at the top does not concern README until Git tracks it.
    if not in_git:
        pytest.skip("a downloaded archive: without Git, files of your own look like the project's")
    assert {name for name in names if not any(fnmatch(name, pattern) for pattern in top)} == set()


def test_readme_is_short_and_links_to_every_page():
    assert len(README.splitlines()) <= 200
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in links(README)}
    assert set(PAGES) - {ROOT / "README.md"} <= linked


@pytest.mark.parametrize("place", [place for places in DECISIONS.values() for place in places])
def test_every_decision_is_where_the_page_about_the_code_says(place):
    module, _, name = place.partition(": ")
    tree = ast.parse((ROOT / "finetune" / module).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def test_the_page_about_the_code_has_a_line_for_every_module():
    assert (ROOT / "docs/code.md").read_text(encoding="utf-8") == modules_page(ROOT / "finetune"), OUT_OF_DATE


def test_a_run_on_other_data_leaves_the_docs_and_their_record_unchanged(workdir):
    for name in ("README.md", "docs/default_run/params.yaml", "docs/default_run/metrics/test.json"):
        (workdir / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, name)
    (workdir / "metrics").mkdir()
    (workdir / "metrics/test.json").write_text("{}")
    own = PARAMS | {"data": PARAMS["data"] | {"uri": "data/local/own.csv"}}
    with pytest.raises(UserError, match="the docs describe; nothing was changed"):
        readme.renew_record(own, new_defaults=False)
    assert (workdir / "docs/default_run/metrics/test.json").read_text() != "{}"
    (workdir / "params.yaml").write_text(yaml.safe_dump(own))
    readme.renew_record(own, new_defaults=True)
    assert (workdir / "docs/default_run/metrics/test.json").read_text() == "{}"


@pytest.mark.parametrize("command", dict.fromkeys(commands("dvc")))
def test_a_dvc_command_is_one_that_dvc_takes(command):
    from dvc.cli import parse_args

    words = shlex.split(command)[1:]
    assert parse_args(words).func


@pytest.mark.parametrize("command", dict.fromkeys(commands("python")))
def test_a_python_command_names_a_module_there_is(command):
    assert command.startswith("python -m ")
    assert find_spec(command.split()[2])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_to_a_heading_in_it(page):
    missing = []
    for link in links(PAGES[page]):
        name, _, heading = link.partition("#")
        target = (page.parent / name).resolve()
        if not target.is_file() or (heading and heading not in anchors(PAGES[target])):
            missing.append(link)
    assert missing == []


def test_the_exit_statuses_of_the_gate_are_explained():
    meanings = {
        int(status.strip("`")): meaning for status, meaning in table("Thresholds and comparisons", "exit status")
    }
    assert set(meanings) == {HOLDS, FALLS_SHORT, CANNOT_TELL}
    assert "holds" in meanings[HOLDS]
    assert "falls short" in meanings[FALLS_SHORT]
    assert "could not tell" in meanings[CANNOT_TELL]


def test_the_error_in_the_docs_is_the_one_that_is_reported():
    wrong = PARAMS | {"train": PARAMS["train"] | {"batch_size": 0}}
    with pytest.raises(UserError) as error:
        check_params(wrong, source="params.yaml")
    assert f"\nerror: {error.value}\n" in section("When something fails")


def test_the_settings_in_the_docs_are_valid():
    sections = section("Your own data") + section("Other languages")
    blocks = [block["text"] for block in FENCED.finditer(sections) if block["language"] == "yaml"]
    assert len(blocks) == 2
    for block in blocks:
        params = parse_yaml(RECORD / "params.yaml")
        for name, values in parse_yaml_text(block, "test").items():
            for key, value in values.items():
                params[name][key] = params[name][key] | value if name == "baseline" else value
        check_params(params, source="README.md")
    recipe = parse_yaml(ROOT / "recipes/chinese-csv.yaml")
    assert all(recipe[name] == values for name, values in parse_yaml_text(blocks[1], "test").items())


def texts_of_picture(path) -> list[str]:
    """Words and numbers in an SVG file, sorted."""
    root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    return sorted("".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text"))


def test_the_picture_shows_the_accuracy_of_every_classifier():
    metrics = read_metrics(RECORD / "metrics")
    blocks = [metrics["test"], *(block for block in metrics["baseline"].values() if isinstance(block, dict))]
    found = [text for text in texts_of_picture(ROOT / "docs/scores.svg") if re.fullmatch(r"\d+\.\d%", text)]
    assert found == sorted(f"{100 * block['accuracy']:.1f}%" for block in blocks), OUT_OF_DATE


def test_the_picture_can_be_drawn_again(tmp_path, monkeypatch):
    pytest.importorskip("altair")
    from docs import picture

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(picture, "PICTURE", tmp_path / "scores.svg")
    picture.main()
    assert texts_of_picture(tmp_path / "scores.svg") == texts_of_picture(ROOT / "docs/scores.svg")
