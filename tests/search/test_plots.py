"""The charts of a search: the best score so far, and the file that is drawn."""

from finetune.search.plots import best_so_far, draw

TRIALS = [{"trial": number, "value": value} for number, value in enumerate([0.5, 0.4, None, 0.7, 0.6])]


def test_the_best_so_far_rises_for_a_score_falls_for_a_loss_and_skips_trials_without_one():
    assert best_so_far(TRIALS, "validation.f1") == [(0, 0.5), (1, 0.5), (3, 0.7), (4, 0.7)]
    assert best_so_far(TRIALS, "validation.loss") == [(0, 0.5), (1, 0.4), (3, 0.4), (4, 0.4)]


def test_both_charts_are_one_picture_and_without_importances_it_has_one(workdir):
    found = {"trials": TRIALS, "metric": "validation.f1", "importances": {"train.lr": 0.75, "train.epochs": 0.25}}
    for importances, drawn in ((found["importances"], True), ({}, False)):
        draw(found | {"importances": importances}, workdir / "search.svg")
        picture = (workdir / "search.svg").read_text(encoding="utf-8")
        assert "Each trial, and the best so far" in picture
        assert ("Importance of each parameter" in picture) == drawn
        assert ("train.epochs" in picture) == drawn
