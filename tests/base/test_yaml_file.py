"""YAML files that cannot be read end in one line that names the file."""

import os
import sys
import time

import pytest

from finetune.base.errors import UserError
from finetune.base.params import SHORT
from finetune.base.yaml_file import LONGEST, parse_yaml


@pytest.mark.parametrize(
    "content",
    [
        f"x: {'1' * 5_000}",
        "x: 2001-99-99",
        "x: !!int abc",
        "x: !!int _",
        "x: !!float a",
        "x: !!bool a",
        "x: !!binary a",
        "x: !!timestamp a",
        "x: !!python/object:os.system a",
        "x: !foo a",
        "x: *nope",
        "x: {<<: 3}",
        "? {a: b}\n: 1",
        "x: a\0b",
        "[" * 5_000,
    ],
)
def test_a_value_that_cannot_be_read_ends_in_one_line(tmp_path, content):
    path = tmp_path / "params.yaml"
    path.write_text(content + "\n")
    with pytest.raises(UserError) as caught:
        parse_yaml(path)
    assert str(caught.value).startswith(f"{path} ")
    assert "\n" not in str(caught.value)


def test_a_file_of_gigabytes_is_refused_before_it_is_read(tmp_path):
    """A hole of 10 GB takes no room on the disk."""
    path = tmp_path / "params.yaml"
    with path.open("wb") as file:
        file.truncate(10_000_000_000)
    started = time.perf_counter()
    with pytest.raises(UserError, match="params.yaml has more than 1,000,000 characters; expected settings"):
        parse_yaml(path)
    assert time.perf_counter() - started < 2


def test_a_file_of_as_many_characters_as_are_allowed_is_read(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("a: 1\n" + "#" * (LONGEST - 5))
    assert parse_yaml(path) == {"a": 1}


def test_an_integer_of_more_digits_than_python_writes_has_words_for_it():
    assert SHORT.repr(16 ** sys.get_int_max_str_digits()) == "an integer of many digits"
    assert SHORT.repr([12]) == "[12]"


def test_merges_that_multiply_are_refused_before_they_are_carried_out(tmp_path):
    """Each of 30 mappings merges the one above six times: 6^30 keys from one kilobyte."""
    lines = ["m0: &m0 {a: 1}"] + [f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 6)}]}}" for n in range(1, 31)]
    path = tmp_path / "params.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"params.yaml merges \(`<<`\) more than 100,000 keys; write out"):
        parse_yaml(path)


def test_merges_of_a_few_keys_are_read(tmp_path):
    """The nearest value counts; a mapping that merges itself gains nothing."""
    path = tmp_path / "params.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: &b {<<: *a, y: 3}\nc: {<<: [*b, *a], z: 4}\nd: &d {<<: *d, v: 5}\n")
    expected = {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": {"x": 1, "y": 3, "z": 4}, "d": {"v": 5}}
    assert parse_yaml(path) == expected


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.mkdir()])
def test_a_pipe_a_device_or_a_folder_is_refused_and_not_waited_for(tmp_path, make):
    path = tmp_path / "params.yaml"
    make(path)
    with pytest.raises(UserError, match="params.yaml is (a pipe|a device|a folder), expected a file; move it away"):
        parse_yaml(path)
