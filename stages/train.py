"""Fine-tune the pretrained encoder on the training rows; keep the best epoch on validation.

    python -m stages.train

reads   data/tokenized/train.parquet, validation.parquet and tokenizer, data/teacher/, models/base/
writes  models/finetuned/
        metrics/train.json, metrics/detail/train/, metrics/plots/train/

Killed or stopped, it resumes from its last checkpoint (in checkpoints/) and writes the same bytes in the end.
"""

import json
import os
import time
from pathlib import Path

import torch
from dvclive import Live

from finetune.base.command import run
from finetune.base.metric_files import write_metrics
from finetune.base.params import read_params
from finetune.base.terminal import say
from finetune.encoder.hardware import chosen_precision, device_name
from finetune.encoder.models import fresh_classifier, save
from finetune.rows.stored import TOKENIZED, label_names, read_rows
from finetune.rows.tokens import load_tokenizer
from finetune.training.checkpoints import Checkpoints, stage_key
from finetune.training.distillation import stored_teacher
from finetune.training.distributed import launch, rank
from finetune.training.fine_tune import fine_tune
from finetune.training.outcome import outcome
from finetune.training.probe import prompt_rows
from finetune.training.settings import PROBES, resolved
from finetune.training.task import task_of

BASE = Path("models/base")
FINETUNED = Path("models/finetuned")
PLOTS = Path("metrics/plots/train")


def main():
    settings, prompts = read_params("train", "baseline.zero_shot.prompts")
    if settings.processes > 1 and "RANK" not in os.environ:
        return launch("stages.train", settings.processes)
    is_first = rank() == 0
    train, validation = (read_rows(name, ("label", "input_ids")) for name in ("train", "validation"))
    teacher, teacher_source = stored_teacher() if settings.teacher else (None, None)
    task = task_of(train)
    settings, reason = resolved(settings, len(train), len(label_names(train)), task.several)
    tokenizer = load_tokenizer(TOKENIZED / "tokenizer")
    probes = settings.strategy in PROBES
    prompts = prompt_rows(tokenizer, label_names(train), prompts) if probes else None
    model = fresh_classifier(BASE, label_names(train), settings.seed, settings.dropout, probes, task.problem_type)
    precision = chosen_precision(settings.precision)
    threads = torch.get_num_threads()
    key = stage_key("train", settings=settings.model_dump(), prompts=prompts, precision=precision, threads=threads)
    checkpoints = Checkpoints(key)
    lock = checkpoints.lock() if is_first else None
    if is_first:
        say(f"train: {settings.strategy} ({reason}), {precision} on {device_name()}")

    # DVCLive must not change dvc.yaml or save an experiment: `dvc exp run` does both.
    live = Live(str(PLOTS), dvcyaml=None, save_dvc_exp=False, report=None, monitor_system=False) if is_first else None
    started = time.perf_counter()
    model, fit = fine_tune(
        model, tokenizer, train, validation, settings, precision, live, checkpoints, prompts, teacher
    )
    seconds = time.perf_counter() - started
    if not is_first:
        return None
    live.end()
    best = fit.progress.best
    rows = min(len(train) * fit.progress.epoch, settings.batch_size * fit.progress.step)
    say(f"train: {rows / seconds:.0f} rows a second, best epoch {best.epoch}")

    save(model, tokenizer, FINETUNED)
    # The model card shows the settings. Not `write_json`, which rounds: a learning rate may be smaller than 0.000001.
    recorded = settings.model_dump(exclude_defaults=True)
    (FINETUNED / "training.json").write_text(json.dumps(recorded, indent=2) + "\n", encoding="utf-8")
    metrics = outcome(fit, settings, reason, model, precision, label_names(train))
    if metrics["warning"]:
        say(f"warning: {metrics['warning']}")
    write_metrics("train", metrics | ({"teacher": teacher_source} if settings.teacher else {}))
    lock.release()
    return None


if __name__ == "__main__":
    raise SystemExit(run(main, usage=__doc__))
