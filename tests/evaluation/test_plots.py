"""The files that DVC draws."""

import csv

import numpy as np
import pytest

from finetune.base.names import normal_name
from finetune.evaluation.plots import write_plots, write_slices


@pytest.mark.parametrize("name", ["</script><script>alert(1)</script>", "<!--<script>", "a < b", "</SCRIPT >", "plain"])
def test_a_name_from_the_data_cannot_end_the_script_that_draws_it(tmp_path, name):
    """DVC writes the values into a script on its page as they are, and only `</` or `<!` can leave it."""
    labels, probabilities = np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]])
    write_plots(tmp_path, labels, probabilities, probabilities, [name, "other"], 10)
    write_slices(tmp_path, {"group": {name: {"rows": 1, "accuracy": 1.0, "interval": {"low": 0.2, "high": 1.0}}}})
    for file, column in (("confusion.csv", "actual"), ("slices.csv", "slice")):
        text = (tmp_path / file).read_text(encoding="utf-8")
        assert "</" not in text
        assert "<!" not in text
        assert normal_name(next(csv.DictReader(text.splitlines()))[column]) == name.strip()
