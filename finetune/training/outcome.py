"""What a finished training reports."""

from transformers import PreTrainedModel

from finetune.base.params import Train
from finetune.training.fit import Fit
from finetune.training.settings import majority_warning


def outcome(
    fit: Fit, settings: Train, reason: str, model: PreTrainedModel, precision: str, label_names: list[str]
) -> dict:
    """Metrics of a finished training: scores, steps, weights, and the settings that were null or `auto`.

    `reason` says why the strategy was chosen. `warning` is a line about a training that learnt nothing, else None.
    """
    best = fit.progress.best
    majority = fit.task.majority(fit.train_targets, fit.validation_targets)
    weights = dict(zip(label_names, fit.task.class_weights, strict=True))
    return {
        "validation": best.scores,
        "best_epoch": best.epoch,
        "epochs": fit.progress.epoch,
        "steps": fit.progress.step,
        "strategy": settings.strategy,
        "reason": reason,
        "majority": majority["accuracy"],
        "warning": majority_warning(settings, fit.progress.step, best.scores, majority),
        "parameters": {
            "total": sum(weights.numel() for weights in model.parameters()),
            "trained": fit.trained_count,
        },
        "precision": precision,
    } | ({"class_weights": weights} if settings.class_weights is not None else {})
