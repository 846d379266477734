"""Progress of a training: curves, best epoch, patience. The same for both engines."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch
from dvclive import Live
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from finetune.base.files import read_json

CURVE_POINTS = 100  # points of the training curves: enough to see their shape, few enough to smooth out noise


@dataclass
class Best:
    """The epoch with the best validation score (`train.best`), and its trained weights."""

    epoch: int
    scores: dict[str, float]
    weights: dict[str, torch.Tensor] = field(repr=False)


def sort_key(scores: dict[str, float], best: str) -> tuple[float, ...]:
    """Sort key of epochs by the score that `best` names; the lower loss decides a tie of accuracy or macro F1."""
    return (-scores["loss"],) if best == "loss" else (scores[best], -scores["loss"])


class Progress:
    """Curves through DVCLive, the best epoch so far, and the progress bar; a checkpoint restores all of it exactly.

    `trained` are the names of the weights that train in any step; `steps` and `rows` count over all epochs. Losses are
    averaged over `every` steps. `chosen_by` is the validation score by which an epoch is best. Without `live` (in all processes
    except the first) nothing is drawn.
    """

    def __init__(
        self, live: Live | None, trained: set[str], steps: int, rows: int, patience: int | None, chosen_by: str
    ):
        self.live, self.trained, self.steps, self.patience = live, trained, steps, patience
        self.chosen_by = chosen_by
        self.every = max(1, steps // CURVE_POINTS)
        self.points: list[tuple[int, dict[str, float]]] = []
        self.losses: list[float] = []
        self.step = self.epoch = 0
        self.scores: dict[str, float] = {}
        self.best: Best | None = None
        self.bar = tqdm(
            desc="train",
            total=rows,
            unit=" rows",
            disable=live is None or not sys.stderr.isatty(),
            dynamic_ncols=True,
        )

    def stepped(self, rows: int, loss: float, learning_rate: float, gradient_norm: float):
        """Records one step of the optimizer on that many rows."""
        self.step += 1
        self.losses.append(loss)
        self.bar.update(min(rows, self.bar.total - self.bar.n))
        if self.step % self.every == 0 or self.step == self.steps:
            mean = sum(self.losses) / len(self.losses)
            self.losses.clear()
            self.bar.set_postfix(loss=f"{mean:.3f}", refresh=False)
            self.draw(
                {
                    "train/loss": mean,
                    "train/learning_rate": learning_rate,
                    "train/gradient_norm": gradient_norm,
                }
            )

    def validated(self, scores: dict[str, float], model: torch.nn.Module):
        """Records the validation scores of an epoch; if it is the best so far, keeps its weights in memory."""
        self.scores = scores
        if self.live is not None:
            shown = ", ".join(f"validation {name} {value:.4f}" for name, value in scores.items())
            self.bar.write(f"epoch {self.epoch}: {shown}", file=sys.stdout)
        self.draw({f"validation/{name}": value for name, value in scores.items()})
        if self.best is None or sort_key(scores, self.chosen_by) > sort_key(self.best.scores, self.chosen_by):
            state = model.state_dict()
            weights = {name: state[name].detach().cpu().clone() for name in sorted(self.trained)}
            self.best = Best(self.epoch, scores, weights)

    def draw(self, values: dict[str, float]):
        """Draws a point on each of the named curves at the current step. Times are left out: they differ between runs."""
        self.points.append((self.step, values))
        if self.live is not None:
            self.live.step = self.step
            for name, value in values.items():
                self.live.log_metric(name, round(value, 6))
            self.live.make_summary()

    @property
    def out_of_patience(self) -> bool:
        """Whether the validation has not improved for `patience` epochs."""
        return self.patience is not None and self.best is not None and self.epoch - self.best.epoch >= self.patience

    def save(self, folder: Path, name: str, weights_name: str):
        """Writes the state as JSON, and the best epoch's weights as safetensors."""
        state = {key: getattr(self, key) for key in ("points", "losses", "step", "epoch")}
        if self.best is not None:
            state["best"] = {"epoch": self.best.epoch, "scores": self.best.scores}
            save_file(self.best.weights, folder / weights_name)
        (folder / name).write_text(json.dumps(state), encoding="utf-8")

    def load(self, folder: Path, name: str, weights_name: str):
        """Restores the state that `save` wrote, and draws the curves again up to its step."""
        state = read_json(folder / name)
        if "best" in state:
            self.best = Best(**state["best"], weights=load_file(folder / weights_name))
        for self.step, values in state["points"]:
            self.draw(values)
        self.losses, self.step, self.epoch = state["losses"], state["step"], state["epoch"]
        self.bar.update(self.bar.total * self.step // self.steps)
