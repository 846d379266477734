"""The settings of a training without nulls: what measured best for its strategy, and the strategy for its number of rows."""

from dataclasses import asdict, dataclass

from finetune.base.params_training import Train


@dataclass(frozen=True)
class Measured:
    """Settings of a strategy that scored best on held-out rows; docs/decisions.md has the figures."""

    lr: float
    epochs: int
    batch_size: int
    min_steps: int


# A null in `train` takes these. All were chosen on rows held out of train by film, or on validation.
MEASURED = {
    "full": Measured(lr=1e-4, epochs=2, batch_size=32, min_steps=200),
    "gradual": Measured(lr=1e-4, epochs=2, batch_size=32, min_steps=200),
    "lora": Measured(lr=1e-3, epochs=2, batch_size=32, min_steps=200),
    # One step costs next to nothing: the encoder runs once.
    "head": Measured(lr=3e-3, epochs=20, batch_size=256, min_steps=800),
    "lp_ft": Measured(lr=5e-5, epochs=2, batch_size=32, min_steps=200),
    "contrastive": Measured(lr=2e-5, epochs=2, batch_size=32, min_steps=200),
}
PROBES = ("lp_ft", "contrastive")  # their head is a logistic regression on the mean over tokens
PAIRS_ROWS = range(150, 3_000)  # training rows of two labels for which `auto` takes `contrastive`
ENOUGH_ROWS = 1_000  # training rows from which it else takes `full`, with fewer `lp_ft`
CHOSEN = "set in params.yaml"
FAR = 3  # a learning rate this many times higher or lower than the measured one is a likely reason to learn nothing


def resolved(settings: Train, rows: int, labels: int, several: bool = False) -> tuple[Train, str]:
    """Settings without nulls for this number of training rows and of labels, and why the strategy is what it is.

    A batch size that is null is at most the number of rows. With `several` labels per text, `auto` is always `full`; with a
    teacher it is never `contrastive`.
    """
    strategy, reason = settings.strategy, CHOSEN
    if strategy == "auto":
        strategy, reason = automatic(settings, rows, labels, several)
    values = settings.model_dump() | {"strategy": strategy}
    for name, value in asdict(MEASURED[strategy]).items():
        if values[name] is None:
            values[name] = min(value, rows) if name == "batch_size" else value
    return Train(**values), reason


def automatic(settings: Train, rows: int, labels: int, several: bool) -> tuple[str, str]:
    """The strategy that `auto` stands for, and why it is this one."""
    if several:
        return "full", "auto: several labels per text"
    pairs = labels == 2 and settings.teacher is None
    if pairs and rows in PAIRS_ROWS:
        bound = f"{PAIRS_ROWS.start} to {PAIRS_ROWS[-1]:,} training rows of two labels"
        return "contrastive", f"auto: measured best for {bound}, found {rows:,}"
    if rows < ENOUGH_ROWS:
        strategy, bound = "lp_ft", f"fewer than {PAIRS_ROWS.start if pairs else ENOUGH_ROWS:,} training rows"
    else:
        strategy, bound = "full", f"{PAIRS_ROWS.stop if pairs else ENOUGH_ROWS:,} training rows or more"
    return strategy, f"auto: measured best for {bound}, found {rows:,}"


def majority_warning(settings: Train, steps: int, scores: dict[str, float], majority: dict[str, float]) -> str | None:
    """One line about a training that ends no better than the most frequent class, with the likely reason; else None.

    `scores` and `majority` hold "accuracy" and "f1" on the validation rows. A training with weighted classes gives up accuracy
    for the rare ones, so its macro F1 is compared.
    """
    score, title = ("accuracy", "accuracy") if settings.class_weights is None else ("f1", "macro F1")
    if scores[score] > majority[score]:
        return None
    measured = MEASURED[settings.strategy]
    if settings.lr * FAR < measured.lr:
        why = f"train.lr {settings.lr:g} is low for {settings.strategy}, for which {measured.lr:g} measured best"
    elif settings.lr > FAR * measured.lr:
        why = f"train.lr {settings.lr:g} is high for {settings.strategy}, for which {measured.lr:g} measured best"
    elif steps < measured.min_steps:
        why = f"{steps} steps are few, {measured.min_steps} measured best; raise train.min_steps or train.epochs"
    else:
        why = "the texts may not tell the labels apart, or one label is much rarer than the others"
        why += "; train.class_weights: balanced gives rare labels more weight" if settings.class_weights is None else ""
    return (
        f"the model learnt nothing: its validation {title} is {scores[score]:.3f}, and always answering the most frequent "
        f"label scores {majority[score]:.3f}; {why}"
    )
