"""The search around its trials, with Optuna's real study: what runs, in which order, and what is kept. No training runs here."""

import pytest
import yaml

from finetune.base.errors import Stopped, UserError
from finetune.search import __main__ as search
from finetune.search import proposal, study
from finetune.search.trials import Failed, Pruned
from tests.support.project import PARAMS

SPACE = {"train.lr": {"low": 1e-4, "high": 1e-2, "log": True}, "train.epochs": [3, 4]}
CHECKSUMS = {"data/raw": "1", "models/base": "2"}
DEFAULT = 0.003


class Trainings:
    """Stands for DVC: keeps what was run, and gives each training a score or an end."""

    def __init__(self):
        self.run: list[str] = []
        self.used: dict[str, dict] = {}
        self.ends: dict[int, Exception] = {}  # by the number of the call
        self.validations = [0.5]

    def ensure(self, name: str, used: dict, is_bad):
        self.run.append(name)
        self.used[name] = used
        if error := self.ends.get(len(self.run) - 1):
            raise error
        if is_bad([{"epoch": 1, "epochs": 3, "scores": {"accuracy": value}} for value in self.validations]):
            raise Pruned

    def metrics(self, name: str) -> dict:
        return {"train": {"validation": {"accuracy": self.used[name].get("train.lr", DEFAULT) * 10}}}


@pytest.fixture
def trainings(workdir, monkeypatch) -> Trainings:
    """A folder with the tiny project's parameters and metrics, in which trainings only pretend."""
    made = Trainings()
    (workdir / "metrics").mkdir()
    (workdir / "metrics/data.json").write_text('{"rows": {"train": 92}, "labels": {"negative": 46, "positive": 46}}')
    write(SPACE)
    monkeypatch.setattr(study, "sources", lambda: CHECKSUMS)
    monkeypatch.setattr(search, "ensure_experiment", made.ensure)
    monkeypatch.setattr(search, "Revision", lambda name: Run(made, name))
    return made


class Run:
    """Stands for a finished experiment: its metrics, and its curve with two validations."""

    def __init__(self, trainings: Trainings, name: str):
        self.trainings, self.name = trainings, name

    def metrics(self) -> dict:
        return self.trainings.metrics(self.name)

    def text(self, path) -> str:
        assert str(path) == "metrics/plots/train/plots/metrics/validation/accuracy.tsv"
        return "step\taccuracy\n10\t0.5\n20\t0.9\n"


class Again:
    """Stands for the experiment of a further seed, without predictions."""

    why_no_predictions = "no DVC here"

    def __init__(self, score: float):
        self.score = score

    def metrics(self) -> dict:
        return {"train": {"validation": {"accuracy": self.score}}}

    def predictions(self):
        return None


def write(space: dict, **params):
    """params.yaml with this search space."""
    with open("params.yaml", "w", encoding="utf-8") as file:
        yaml.safe_dump(PARAMS | params | {"search": {"seeds": 0, **space}}, file, sort_keys=False)


def searched(count: int) -> search.Search:
    """A search with so many trials in all."""
    found = search.Search()
    while (trial := study.next_trial(found.study, count, found.seed)) is not None:
        found.run_trial(trial)
    return found


def test_the_first_trial_is_params_yaml_as_it_is_and_the_others_lie_in_the_space(trainings):
    first, *others = searched(6).trials()
    assert first["settings"] == {"train.lr": DEFAULT, "train.epochs": 3}
    assert first["used"] == {"train.seed": 42}
    assert all(1e-4 <= trial["settings"]["train.lr"] <= 1e-2 for trial in others)
    assert {trial["settings"]["train.epochs"] for trial in others} <= {3, 4}
    assert [trial["used"] for trial in others] == [trial["settings"] for trial in others]
    assert len(set(trainings.run)) == 6


def test_finished_trials_never_run_again_and_an_interrupted_one_does(trainings):
    trainings.ends[2] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        searched(5)
    trainings.ends.clear()
    resumed = searched(5).trials()
    assert [trial["state"] for trial in resumed] == ["complete"] * 5
    assert trainings.run[2] == trainings.run[3]  # the interrupted one, with the same settings
    assert len(trainings.run) == 6
    searched(5)
    assert len(trainings.run) == 6


@pytest.mark.usefixtures("trainings")
def test_an_interrupted_search_tries_what_an_uninterrupted_one_tries(workdir):
    straight = searched(14).trials()
    (workdir / "search/study.db").unlink()
    for count in (3, 4, 14):
        resumed = searched(count).trials()
    assert resumed == straight


def test_a_failed_trial_is_recorded_with_its_line_and_the_others_go_on(trainings, capsys):
    trainings.ends[1] = Failed("out of memory with batches of 8 rows")
    trials = searched(4).trials()
    assert [trial["state"] for trial in trials] == ["complete", "failed", "complete", "complete"]
    assert trials[1]["error"] == "out of memory with batches of 8 rows"
    assert "trial 1: failed: out of memory with batches of 8 rows\n" in capsys.readouterr().out


def test_if_params_yaml_itself_fails_the_search_ends_and_tries_it_again_later(trainings):
    trainings.ends[0] = Failed("the loss is nan at step 3")
    with pytest.raises(
        UserError, match="^params.yaml as it is fails: the loss is nan at step 3; its output is in search/logs/search-"
    ):
        searched(3)
    trainings.ends.clear()
    assert [trial["state"] for trial in searched(3).trials()] == ["complete"] * 3


def test_a_trial_below_the_median_after_its_first_validation_is_ended_early(trainings):
    """Four trials with 0.5 after one epoch are complete; the next has 0.4 there."""
    searched(4)
    trainings.validations = [0.4]
    last = searched(5).trials()[4]
    assert last["state"] == "pruned"
    assert last["value"] is None
    assert last["validations"] == [0.4]


@pytest.mark.usefixtures("trainings")
@pytest.mark.parametrize(
    ("space", "params"),
    [
        (SPACE | {"train.epochs": [3, 4, 5]}, {}),
        (SPACE, {"train": PARAMS["train"] | {"warmup": 0.2}}),
        (SPACE, {"split": PARAMS["split"] | {"seed": 1}}),
        (SPACE | {"metric": "validation.f1"}, {}),
    ],
)
def test_another_space_or_another_setting_is_another_study(space, params):
    before = search.Search().name
    write(space, **params)
    assert search.Search().name != before


@pytest.mark.usefixtures("trainings")
def test_other_rows_are_another_study_and_other_experiments(monkeypatch):
    before = searched(2)
    monkeypatch.setattr(study, "sources", lambda: CHECKSUMS | {"data/raw": "3"})
    after = searched(2)
    assert after.name != before.name
    assert not {trial["experiment"] for trial in before.trials()} & {trial["experiment"] for trial in after.trials()}


@pytest.mark.usefixtures("trainings")
@pytest.mark.parametrize("params", [{"gate": {}}, {"export": PARAMS["export"] | {"name": "other"}}])
def test_what_changes_no_score_and_the_searched_values_themselves_keep_the_study(params):
    before = search.Search().name
    write(SPACE, **params)
    assert search.Search().name == before


def test_a_training_from_the_cache_which_was_not_watched_counts_with_its_curve(trainings):
    """All but the last of its validations, as for a training that was watched."""
    trainings.validations = []
    assert [trial["validations"] for trial in searched(2).trials()] == [[0.5], [0.5]]


def test_ctrl_c_says_that_the_search_can_go_on(trainings, monkeypatch):
    trainings.ends[1] = KeyboardInterrupt()
    monkeypatch.setattr("sys.argv", ["search", "3"])
    with pytest.raises(Stopped, match="^stopped; the same command continues where the search was$") as stop:
        search.main()
    assert stop.value.status == 130


@pytest.mark.usefixtures("workdir")
def test_two_searches_at_a_time_are_refused():
    with (
        study.only_search(),
        pytest.raises(UserError, match="^another search is running in this folder"),
        study.only_search(),
    ):
        pass


def test_the_table_has_the_best_trial_first_and_those_without_a_score_last(trainings):
    trainings.ends[1] = Failed("no")
    lines = search.table(searched(4).trials(), "validation.accuracy").splitlines()
    assert lines[0].split() == ["trial", "accuracy", "lr", "epochs", "experiment"]
    scores = [line.split()[1] for line in lines[2:]]
    assert scores[:3] == sorted(scores[:3], reverse=True)
    assert lines[-1].split()[:2] == ["1", "failed"]


def test_the_best_trial_and_the_defaults_are_trained_again_with_seeds_that_chose_nothing(
    trainings, monkeypatch, capsys
):
    """Seeds 43 and 44 of both; the scores follow from the rate alone, so no seed differs and the gate's spread is assumed."""
    write(SPACE | {"seeds": 2})
    again: dict[str, dict] = {}
    monkeypatch.setattr(proposal, "check_experiment", again.__setitem__)
    monkeypatch.setattr(search, "experiment_names", lambda: [*trainings.run, *again])
    monkeypatch.setattr(proposal, "Revision", lambda name: Again(again[name].get("train.lr", DEFAULT) * 10))
    found = search.results(searched(4))
    best = max(found["trials"], key=lambda trial: trial["value"])
    assert best["trial"] > 0
    assert list(again.values()) == [
        settings | {"train.seed": seed} for settings in ({}, best["settings"]) for seed in (43, 44)
    ]
    assert set(again) & set(trainings.run) == set()
    said = "training the best settings and the defaults with seeds 43, 44\n"
    assert said in capsys.readouterr().out
    search.results(searched(4))
    assert said not in capsys.readouterr().out  # they are there
    proposed = found["proposal"]
    assert proposed["experiment"] == best["experiment"]
    assert proposed["seeds"] == [43, 44]
    assert proposed["gain"]["validation"]["value"] == pytest.approx(best["value"] - DEFAULT * 10)
    assert proposed["gain"]["validation"]["assumed"] == 0.01
    assert proposed["test"] == {"missing": "no DVC here"}


@pytest.mark.usefixtures("trainings")
def test_if_the_defaults_are_best_nothing_is_proposed():
    write({"train.lr": {"low": 1e-4, "high": DEFAULT}})
    found = search.results(searched(3))
    assert found["proposal"] is None


@pytest.mark.usefixtures("trainings")
def test_the_importance_names_the_parameter_that_decides_the_score():
    """Only the learning rate makes a score here."""
    found = study.importances(searched(12).study)
    assert list(found) == ["train.lr", "train.epochs"]
    assert found["train.lr"] > 0.8
    assert sum(found.values()) == pytest.approx(1)


@pytest.mark.usefixtures("trainings")
def test_scores_that_never_differ_have_no_importance(monkeypatch):
    monkeypatch.setattr(Trainings, "metrics", lambda *_: {"train": {"validation": {"accuracy": 0.5}}})
    found = searched(3)
    assert study.importances(found.study) == {}
    assert search.results(found)["words"] == [
        "No setting beat the defaults on validation.accuracy in 3 trials. Keep the defaults."
    ]


@pytest.mark.parametrize("trials", [["1"], ["0"]])
def test_fewer_than_two_trials_compare_nothing(trials, monkeypatch):
    monkeypatch.setattr("sys.argv", ["search", *trials])
    with pytest.raises(UserError, match=f"must be at least 2, found {trials[0]}"):
        search.main()


def test_without_optuna_a_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("sys.argv", ["search", "3"])
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(
        UserError, match="run `make search`, or `pip install -r requirements-search.txt -c constraints.txt`"
    ):
        search.main()
