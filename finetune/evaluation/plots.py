"""CSV files that dvc.yaml draws, about the test rows."""

import re
from pathlib import Path

import numpy as np

from finetune.base.files import write_csv
from finetune.evaluation.calibration import selective_curve, surest_first
from finetune.scoring.curves import confidence_bins, precision_recall, roc


def plot_name(name: str) -> str:
    """A name from the data that cannot end the script in which DVC puts it on a page: `</script>` with a word joiner after `<`.

    The joiner is invisible, and `finetune.base.names.normal_name` takes it out again.
    """
    return re.sub(r"<(?=[/!])", "<\N{WORD JOINER}", name)


def write_plots(
    folder: Path,
    labels: np.ndarray,
    probabilities: np.ndarray,
    calibrated: np.ndarray,
    label_names: list[str],
    bin_count: int,
):
    """Data of the plots that dvc.yaml declares, of the `calibrated` probabilities; one shows those before scaling too."""
    pairs = sorted(zip(labels, probabilities.argmax(1), strict=True))  # sorted, they compress well in Git
    write_csv(
        folder / "confusion.csv",
        ["actual", "predicted"],
        ([plot_name(label_names[actual]), plot_name(label_names[predicted])] for actual, predicted in pairs),
    )
    write_csv(folder / "roc.csv", ["false_positive_rate", "fine-tuned"], roc(labels, calibrated))
    write_csv(folder / "precision_recall.csv", ["recall", "fine-tuned"], precision_recall(labels, calibrated))
    bins = confidence_bins(labels, probabilities, bin_count)
    filled = bins[bins[:, 2:].sum(1) > 0]
    write_csv(
        folder / "reliability.csv",
        ["confidence", "accuracy", "calibrated"],
        ([mean, right, mean] for mean, right, *_ in filled),
    )
    after = confidence_bins(labels, calibrated, bin_count)
    write_csv(folder / "reliability_scaled.csv", ["confidence", "accuracy"], after[after[:, 2:].sum(1) > 0, :2])
    middles = (np.arange(bin_count) + 0.5) / bin_count
    write_csv(
        folder / "confidence.csv",
        ["confidence", "right", "wrong"],
        np.column_stack([middles, after[:, 2:]])[middles > 1 / len(label_names)],
    )
    write_csv(
        folder / "selective.csv",
        ["coverage", "accuracy", "low", "high"],
        selective_curve(surest_first(labels, calibrated)),
    )


def write_accuracy(folder: Path, scores: dict):
    """Accuracy of the model with its interval; the baselines' stand in a file of their own."""
    write_csv(
        folder / "accuracy.csv",
        ["classifier", "accuracy", "low", "high"],
        [["fine-tuned", scores["accuracy"], *scores["interval"].values()]],
    )


def write_slices(folder: Path, slices: dict[str, dict[str, dict]]):
    """Accuracy of every slice, single groups included."""
    write_csv(
        folder / "slices.csv",
        ["kind", "slice", "rows", "accuracy", "low", "high"],
        (
            [kind, plot_name(name), entry["rows"], entry["accuracy"], *entry["interval"].values()]
            for kind, entries in slices.items()
            for name, entry in entries.items()
        ),
    )
