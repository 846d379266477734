"""params.yaml: types, limits, and one line for every mistake."""

import copy
import datetime
import re

import pytest
import yaml

from finetune.base.errors import UserError
from finetune.base.params import check_named_labels, check_params, read_params
from finetune.base.yaml_file import parse_yaml_text
from tests.support.project import PARAMS


def changed(key: str, value) -> dict:
    """The tiny project's parameters with one dotted key set."""
    params = copy.deepcopy(PARAMS)
    *path, last = key.split(".")
    place = params
    for part in path:
        place = place[part]
    place[last] = value
    return params


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-5", 3e-5),
        ("3e-05", 3e-5),
        ("1e3", 1000.0),
        ("-.5", -0.5),
        ("010", 10),
        ("yes", "yes"),
        ("off", "off"),
        ("true", True),
        ("", None),
        ("null", None),
        ("1_000", 1000),
        ("12:30", "12:30"),
        ("2026-01-01", datetime.date(2026, 1, 1)),
    ],
)
def test_yaml_is_read_as_dvc_reads_it(text, value):
    found = parse_yaml_text(f"a: {text}", "test")["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.lrr", 1e-4, r"train\.lrr is not a parameter; did you mean train\.lr\?.*takes engine, strategy, lr"),
        ("trian", {}, r"trian is not a parameter; did you mean train\?"),
        (
            "baseline.few_shot.draw",
            3,
            r"baseline\.few_shot\.draw is not a parameter; did you mean baseline\.few_shot\.draws\?",
        ),
        ("train.lr", "fast", r"train\.lr must be a valid number, found 'fast'"),
        ("train.lr", "1e-4", r"train\.lr must be a valid number, found '1e-4'"),
        ("train.lr", 0, r"train\.lr must be greater than 0, found 0"),
        ("train.lr", 2.0, r"train\.lr must be less than or equal to 1, found 2\.0"),
        ("train.lr", float("nan"), r"train\.lr must be .*, found nan"),
        ("train.epochs", 0, r"train\.epochs must be greater than or equal to 1, found 0"),
        ("train.min_steps", 0, r"train\.min_steps must be greater than or equal to 1, found 0"),
        ("train.epochs", 1.5, r"train\.epochs must be a valid integer.*, found 1\.5"),
        ("train.epochs", True, r"train\.epochs must be a valid integer, found True"),
        ("train.batch_size", -3, r"train\.batch_size must be greater than or equal to 1, found -3"),
        (
            "train.strategy",
            "lorra",
            r"train\.strategy must be 'auto', 'full', 'lp_ft', 'contrastive', 'head', 'gradual' or 'lora', found 'lorra'",
        ),
        ("train.precision", "fp16", r"train\.precision must be 'auto', 'bf16' or 'fp32', found 'fp16'"),
        ("split.test", 1.0, r"split\.test must be less than 1, found 1\.0"),
        ("split.validation", 0.9, r"split must leave rows to train on: .* add up to 1 or more"),
        ("split.folds", 1, r"split\.folds must be greater than or equal to 2, found 1"),
        ("split.folds", 101, r"split\.folds must be less than or equal to 100, found 101"),
        ("split.folds", 5, r"split must set both folds and fold, or neither: folds is 5, fold is null \(`make folds"),
        ("split.fold", 0, r"split must set both folds and fold, or neither: fold is 0, folds is null"),
        ("split.fold", -1, r"split\.fold must be greater than or equal to 0, found -1"),
        (
            "split",
            PARAMS["split"] | {"folds": 5, "fold": 5},
            r"split must name one of 5 folds, 0 to 4, found fold 5",
        ),
        (
            "split",
            PARAMS["split"] | {"folds": 5, "fold": 4, "test_rows": 9},
            r"split must have test_rows null with folds, which test every row, found 9",
        ),
        (
            "split",
            PARAMS["split"] | {"folds": 2, "fold": 0, "validation": 0.5},
            r"split must leave rows to train on: validation 0\.5 and one of 2 folds add up to 1 or more",
        ),
        ("split.train_rows", 0, r"split\.train_rows must be greater than or equal to 1, found 0"),
        ("tokenize.max_length", "128", r"tokenize\.max_length must be a valid integer, found '128'"),
        ("tokenize.truncation", "tail", r"tokenize\.truncation must be 'head', 'head_tail' or 'windows', found 'tail'"),
        (
            "tokenize",
            {"max_length": 32, "truncation": "head", "stride": 4},
            r"tokenize must have stride null unless truncation is windows, found 4",
        ),
        (
            "tokenize",
            {"max_length": 32, "truncation": "windows", "stride": 32},
            r"tokenize must have a stride below its max_length, found 32 and 32",
        ),
        ("data.sha256", "abc", r"data\.sha256 must match .*, found 'abc'"),
        ("data.labels", {"a": "b"}, r"data\.labels must.* at least 2 .*, found"),
        ("data.labels", {"a": "x", " a": "y"}, r"data\.labels must have keys that differ in more than blanks"),
        ("data.labels", {"a": "x", "b": "\u200b"}, r"data\.labels\.b must have visible characters"),
        ("data.text", " ", r"data\.text must have visible characters, found ' '"),
        ("data.labels", {"a": "\ud83d", "b": "c"}, r"data\.labels\.a must be whole characters, found half of one in"),
        ("data.text", "\ud83d", r"data\.text must be whole characters, found half of one in"),
        (
            "train.epochs",
            16**3_000,
            r"train\.epochs must be less than or equal to 1000, found an integer of many digits",
        ),
        ("data.labels", ["a", "b"], r"data\.labels must be a valid dictionary, found"),
        ("data.text", datetime.date(2026, 1, 1), r"data\.text must be a valid string, found datetime"),
        ("data.text", 3, r"data\.text must be a valid string, found 3"),
        (
            "data.text",
            ["a"],
            r"data\.text must be the name of a column, or a list of at least two names, found \['a'\]",
        ),
        ("data.text", [], r"data\.text must be the name of a column, or a list of at least two names, found \[\]"),
        ("data.text", ["a", "b", "a "], r"data\.text must name each column once, found 'a' 2 times"),
        ("data.text", ["a", 3], r"data\.text must be a valid string, found 3"),
        ("data.text", ["a", "label"], r"data must name another column as its label, found 'label' for the texts too"),
        ("data.text", [f"c{number}" for number in range(21)], r"data\.text must list at most 20 columns, found 21"),
        (
            "baseline.zero_shot.template",
            "It was {label}.",
            r"baseline\.zero_shot must have \{text\} and \{label\} in its template",
        ),
        ("gate", {"min_gain": 2}, r"gate\.min_gain must be less than 1, found 2"),
        ("gate", {"min_gian": 0.1}, r"gate\.min_gian must be a valid dictionary, found 0\.1"),
        ("gate", {"test.accuracy": {}}, r"gate\.test\.accuracy must set a min or a max"),
        ("gate", {"test.accuracy": {"mim": 1}}, r"gate\.test\.accuracy\.mim is not a parameter; did you mean .*min"),
        ("export.name", "a/b", r"export\.name must match .*, found 'a/b'"),
        ("train.best", "auc", r"train\.best must be 'accuracy', 'f1' or 'loss', found 'auc'"),
        (
            "train.class_weights",
            "equal",
            r"train\.class_weights must be null, balanced, or weights by label such as \{rare: 3\.0\}, found 'equal'$",
        ),
        ("train.class_weights", {}, r"train\.class_weights must be null, balanced, or weights by label"),
        ("train.class_weights", [1, 2], r"train\.class_weights must be null, balanced, or weights by label"),
        *(
            (
                "train.class_weights",
                {"a": 1, "b": weight},
                rf"train\.class_weights must have weights from 1e-06 to 1e\+06, found {shown} for 'b'$",
            )
            for weight, shown in (
                (0, "0"),
                (-1.5, r"-1\.5"),
                (float("inf"), "inf"),
                (float("nan"), "nan"),
                (True, "True"),
                ("2", "'2'"),
                (10**400, "an integer of many digits"),
            )
        ),
        (
            "train.class_weights",
            {"a": 1, " a": 2},
            r"train\.class_weights must have keys that differ in more than blanks",
        ),
        ("decide.min_probability", 1.5, r"decide\.min_probability must be less than 1, found 1\.5"),
        ("decide.min_accuracy", 0, r"decide\.min_accuracy must be greater than 0, found 0"),
        (
            "decide",
            {"min_probability": 0.7, "min_accuracy": 0.9, "threshold": None},
            r"decide must have at most one rule, found min_probability and min_accuracy; set the others to null",
        ),
        (
            "decide",
            {"min_probability": None, "min_accuracy": 0.9, "threshold": {"label": "a", "recall": 0.9}},
            r"decide must have at most one rule, found min_accuracy and threshold",
        ),
        (
            "decide.threshold",
            {"label": "a"},
            r"decide\.threshold must want a precision or a recall for its label, found neither",
        ),
        (
            "decide.threshold",
            {"label": "a", "precision": 0.9, "recall": 0.9},
            r"decide\.threshold must want a precision or a recall for its label, found both",
        ),
        ("decide.threshold", {"recall": 0.9}, r"decide\.threshold\.label is missing; add it"),
        (
            "decide.threshold",
            {"label": "a", "recal": 0.9},
            r"decide\.threshold\.recal is not a parameter; did you mean decide\.threshold\.recall\?",
        ),
        ("decide.min_acuracy", 0.9, r"decide\.min_acuracy is not a parameter; did you mean decide\.min_accuracy\?"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed_and_what_was_found(key, value, message):
    with pytest.raises(UserError, match=rf"^params\.yaml: {message}") as caught:
        check_params(changed(key, value), source="params.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        "https://user:hunter2@example.com/reviews.csv",
        "https://hunter2@example.com/reviews.csv",
        "s3://user:hunter2@bucket/reviews.csv",
        "https://bucket.s3.amazonaws.com/x.csv?X-Amz-Credential=hunter2&X-Amz-Signature=hunter2",
        "https://storage.googleapis.com/b/x.csv?x-goog-signature=hunter2",
        "https://account.blob.core.windows.net/c/x.csv?sv=2024&sig=hunter2",
        "https://example.com/x.csv?api_key=hunter2",
        "https://example.com/x.csv?access_token=hunter2",
        "https://example.com/x.csv;token=hunter2",
        "https://example.com/x.csv#access_token=hunter2",
        "https://example.com/x.csv?%74oken=hunter2",
        # Addresses in a chain, as fsspec reads them, and addresses with a slash too few.
        "simplecache::https://user:hunter2@example.com/x.csv",
        "zip://x.csv::https://hunter2@example.com/x.zip",
        "zip://x.csv::simplecache::s3://user:hunter2@bucket/x.zip",
        "https:/user:hunter2@example.com/x.csv",
        "https:user:hunter2@example.com/x.csv",
        "https:///user:hunter2@example.com/x.csv",
        "hf://datasets/user:hunter2@owner/name",
        "pkg:pypi/user:hunter2@1.0#x.csv",
        "https://[hunter2/x.csv",
    ],
)
@pytest.mark.parametrize("section", ["data", "model"])
def test_an_address_with_credentials_is_refused_and_not_repeated(section, uri):
    with pytest.raises(
        UserError, match=rf"^params\.yaml: {section}\.uri must (not hold a password|be an address)"
    ) as caught:
        check_params(changed(f"{section}.uri", uri), source="params.yaml")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        "data/local/a b: #1@2.csv",
        "https://example.com/x.csv?format=csv&keyword=a",
        "s3://bucket/reviews.parquet",
        "sftp://me@host/x.csv",
        "hf://datasets/owner/name@main#plain",
        "hf://owner/name@1f3a:b",
        "pkg:pypi/name@1.0#path/x.csv",
        "https://[::1]:8000/x.csv",
        "zip://a/x.csv::https://example.com/x.zip",
    ],
)
def test_an_address_without_credentials_is_accepted(uri):
    assert check_params(changed("data.uri", uri), source="params.yaml").data.uri == uri


@pytest.mark.parametrize(
    "uri",
    [
        "s3://HUSH@bucket/x.csv",
        "hf://datasets/hf_HUSH@owner/name",
        "hf://hf_HUSH@owner/name",
        "gs://HUSH@bucket/x",
    ],
)
def test_a_token_in_the_place_of_a_user_is_refused_and_not_repeated(uri):
    with pytest.raises(UserError, match=r"data\.uri must not hold a password, token or signature") as refused:
        check_params(changed("data.uri", uri), source="params.yaml")
    assert "HUSH" not in str(refused.value)


@pytest.mark.parametrize("key", ["label", "group"])
def test_text_label_and_group_are_not_the_same_column_where_that_gives_the_answer_away(key):
    """A label that is the text, or in the text's column, would be learnt by heart; a group for each label leaves a split without it."""
    same = {"label": "text", "group": PARAMS["data"]["label"]}[key]
    with pytest.raises(UserError, match=rf"^params\.yaml: data must name another column as its {key}, found .* for "):
        check_params(changed(f"data.{key}", same), source="params.yaml")


def test_folds_take_no_teacher_because_it_may_know_the_rows_they_test():
    params = changed("train.teacher", "data/local/teacher")
    check_params(params, "params.yaml")
    params["split"] |= {"folds": 5, "fold": 0, "test_rows": None}
    with pytest.raises(UserError, match=r"must have train\.teacher null with split\.folds: folds test every row"):
        check_params(params, "params.yaml")


def test_a_teacher_reads_one_column_of_texts_without_windows():
    for key, value, found in (
        ("tokenize.truncation", "windows", "tokenize.truncation: windows"),
        ("data.text", ["title", "body"], "several columns in data.text"),
    ):
        params = changed(key, value)
        check_params(params, "params.yaml")
        params["train"]["teacher"] = "data/local/teacher"
        with pytest.raises(
            UserError, match=f"train.teacher null, or one column of texts without windows, found {found}"
        ):
            check_params(params, "params.yaml")


def test_pairs_of_rows_take_no_teacher():
    params = changed("train.teacher", "data/local/teacher")
    params["train"]["strategy"] = "contrastive"
    with pytest.raises(UserError, match="train must have no teacher with strategy contrastive, .*'data/local/teacher'"):
        check_params(params, "test")


def test_a_file_from_before_teachers_learns_which_key_to_add():
    params = copy.deepcopy(PARAMS)
    del params["train"]["teacher"]
    with pytest.raises(UserError, match="params.yaml: train must have the key teacher; add `teacher: null`"):
        check_params(params, "params.yaml")


def test_a_missing_parameter_is_named():
    params = copy.deepcopy(PARAMS)
    del params["train"]["lr"]
    with pytest.raises(UserError, match=r"train\.lr is missing; add it"):
        check_params(params, source="params.yaml")
    del params["train"]
    with pytest.raises(UserError, match=r"train is missing; add it"):
        check_params(params, source="params.yaml")


def test_several_mistakes_are_counted():
    params = changed("train.lr", -1) | {"nonsense": 1}
    with pytest.raises(UserError, match=r"train\.lr .*\(and 1 more\)"):
        check_params(params, source="params.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {lr: 1", "is not valid YAML"),
        ("- train", "must hold sections such as train:"),
        ("", "must hold sections such as train:"),
        ("train: {lr: 1, lr: 2}", 'found duplicate key "lr"'),
    ],
)
def test_a_file_that_is_no_mapping_of_sections_is_refused(workdir, text, message):
    (workdir / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=re.escape(message)):
        read_params("train")


BOMB = "".join(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}' if level else 'x'] * 10)}]\n" for level in range(12))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: " + "[" * 5000 + "]" * 5000, "nests lists or mappings too deep to read"),
        (BOMB + "train: {lr: *a11}", "params.yaml: data is missing"),
        (BOMB.replace("a11:", "train:"), "params.yaml: data is missing"),
    ],
)
def test_a_small_file_cannot_stand_for_gigabytes(workdir, text, message):
    """Twelve anchors of ten aliases each stand for 10^12 words; nothing writes them out."""
    (workdir / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        read_params("train")
    assert len(str(caught.value)) < 1000


def test_a_value_in_a_message_is_short():
    bomb = parse_yaml_text(BOMB, "bomb")["a11"]
    for key in ("train.lr", "data.text", "data.labels", "gate", "evaluate.slices.negations", "export.name"):
        with pytest.raises(UserError) as caught:
            check_params(changed(key, bomb), source="params.yaml")
        assert len(str(caught.value)) < 1000


def test_a_missing_file_is_named(workdir):  # noqa: ARG001, the folder is empty
    with pytest.raises(UserError, match=r"params\.yaml is missing; run this from the project's root"):
        read_params("train")


def test_raw_labels_become_the_text_that_tables_hold():
    labels = check_params(
        changed("data.labels", {0: "negative", True: "positive", "x": "other"}), "params.yaml"
    ).data.labels
    assert labels == {"0": "negative", "true": "positive", "x": "other"}


def test_names_of_columns_and_labels_take_the_form_that_tables_are_read_in():
    params = changed("data.labels", {" 0\u200b": "cafe\u0301 ", 1: "bar"})
    params["data"]["label"] = "\ufefflabel "
    data = check_params(params, "params.yaml").data
    assert data.label == "label"
    assert data.labels == {"0": "caf\u00e9", "1": "bar"}


def test_prompts_take_keys_that_yaml_reads_as_numbers_or_truth_values():
    prompts = check_params(
        changed("baseline.zero_shot.prompts", {0: "bad", True: "good"}), "params.yaml"
    ).baseline.zero_shot.prompts
    assert prompts == {"0": "bad", "true": "good"}


def test_weights_take_label_names_that_yaml_reads_as_numbers_or_truth_values():
    weights = check_params(changed("train.class_weights", {0: 1, True: 2.5}), "params.yaml").train.class_weights
    assert weights == {"0": 1.0, "true": 2.5}
    assert check_params(changed("train.class_weights", "balanced"), "params.yaml").train.class_weights == "balanced"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "train.class_weights",
            {"positive": 2, "rare": 3},
            "train.class_weights must name labels, which are negative, positive, found rare",
        ),
        (
            "decide.threshold",
            {"label": "rare", "recall": 0.9},
            "decide.threshold.label must be one of the labels negative, positive, found rare",
        ),
    ],
)
def test_settings_that_name_other_labels_than_the_data_are_reported_as_soon_as_those_are_known(
    tmp_path, key, value, message
):
    path = tmp_path / "params.yaml"
    params = changed(key, value)
    params["gate"], params["baseline"]["zero_shot"]["prompts"] = {}, None
    path.write_text(yaml.safe_dump(params))
    with pytest.raises(UserError) as caught:
        check_named_labels(["negative", "positive"], path)
    assert str(caught.value) == message


def test_only_the_named_sections_come_back(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(PARAMS))
    assert not hasattr(read_params("train", path=path), "data")
    assert read_params("split", "tokenize", path=path)[1].max_length == 32


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"data.label": ["a", "b"]},
            "data must have task: multi_label for several columns as its label, found task: single_label",
        ),
        ({"data.separator": ";"}, "data must have task: multi_label for a separator"),
        ({"data.task": "multi_label", "data.separator": ""}, "data.separator must have at least one character"),
        ({"data.task": "multi_label", "data.separator": ";", "data.label": ["a", "b"]}, "separator: null"),
        ({"data.task": "multi_label", "data.label": ["a", "a"]}, "must name each column of its label once"),
        ({"data.task": "multi_label", "data.label": ["a", "text"]}, "must name another column as its label"),
        ({"data.task": "multi_label", "decide.min_accuracy": 0.9}, "decide.min_accuracy must be null with data.task"),
        ({"data.task": "multi_label", "train.strategy": "contrastive"}, "train.strategy must not be contrastive with"),
    ],
)
def test_what_does_not_fit_the_number_of_labels_per_text_ends_in_one_line(values, message):
    params = copy.deepcopy(PARAMS)
    for key, value in values.items():
        section, name = key.split(".")
        params[section][name] = value
    with pytest.raises(UserError) as caught:
        check_params(params, "params.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
