"""A head that is a logistic regression on what it reads: the linear probe of Kumar et al. 2022."""

import math

import numpy as np
import torch
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits
from transformers import PreTrainedModel

from finetune.base.params import check_prompts
from finetune.encoder.batches import TokenRows
from finetune.encoder.models import output_layer
from finetune.encoder.prediction import predict
from finetune.rows.tokens import encode, special_tokens, truncate
from finetune.training.labelled_rows import LabelledRows
from finetune.training.task import OneLabel, SeveralLabels

# Relative to the inputs' variance, so that they suit any encoder and head.
STRENGTHS = (0.1, 0.3, 1, 3, 10)  # inverse regularisation
PULLS = (0, 3, 10, 30)  # logit of a prompt under its own label at the start; 0: the prompts count for nothing


def regression(
    features: np.ndarray, targets: np.ndarray, strength: float, prior: np.ndarray, task: OneLabel | SeveralLabels
) -> tuple[np.ndarray, np.ndarray]:
    """Weights [classes, features] and bias [classes] of a logistic regression with a Gaussian prior around `prior`.

    It has the loss of the task, weights of the classes included; `targets` are the task's.
    """
    width = features.shape[1]
    classes = len(prior)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = flat[:-classes].reshape(classes, width), flat[-classes:]
        value, errors = task.probe_loss(features @ weights.T + bias, targets)
        away = weights - prior
        gradient = np.concatenate([(strength * errors.T @ features + away).ravel(), strength * errors.sum(0)])
        return strength * value + 0.5 * (away**2).sum(), gradient

    start = np.concatenate([prior.ravel(), np.zeros(classes)])
    with threadpool_limits(1):
        flat = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000}).x
    return flat[:-classes].reshape(classes, width), flat[-classes:]


def prompt_rows(tokenizer, class_names: list[str], prompts: dict[str, str] | None) -> list[list[int]] | None:
    """Token ids of each label's prompt, or of its name if `prompts` is None; None if two labels have the same ids.

    Raises UserError unless there is one prompt for each label.
    """
    check_prompts(prompts, class_names)
    texts = class_names if prompts is None else [prompts[name] for name in class_names]
    rows = [
        truncate(row, tokenizer.model_max_length, "head", special_tokens(tokenizer)) for row in encode(tokenizer, texts)
    ]
    return rows if len(set(map(tuple, rows))) == len(rows) else None


def head_inputs(model, rows: TokenRows, desc: str) -> np.ndarray:
    """Inputs of the output layer, of shape [rows, features]."""
    name = output_layer(model, model.config.num_labels).removesuffix(".weight")
    owner, _, last = name.rpartition(".")
    owner = model.get_submodule(owner)
    output = getattr(owner, last)
    setattr(owner, last, torch.nn.Identity())
    try:
        return predict(model, rows, lambda answer, _: answer.logits, desc).astype(np.float64)
    finally:
        setattr(owner, last, output)


def fit_head(model: PreTrainedModel, rows: LabelledRows, precision: str, task: OneLabel | SeveralLabels) -> np.ndarray:
    """Sets the output layer to the logistic regression with the lowest loss on validation.

    Returns its logits of the validation rows, [rows, classes]. With prompts, one for each label, the prior of a label's weights
    is the direction of its prompt, so that few rows move the answers away from the zero-shot answers, and many rows far. The
    weights of the classes count in both losses.
    """
    classes = model.config.num_labels
    targets = rows.targets["labels"].numpy()
    with torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bf16"):
        inputs, shown = (head_inputs(model, part, "probe") for part in (rows.train, rows.validation))
        directions = np.zeros((classes, inputs.shape[1]))
        if rows.prompts is not None:
            directions = head_inputs(model, rows.prompts, "probe")
    # Around their mean, so that the size of the regression does not depend on what all texts have in common.
    centre = inputs.mean(0)
    inputs, shown = inputs - centre, shown - centre
    square = (inputs**2).sum(1).mean()
    best = math.inf
    for pull in PULLS if rows.prompts is not None else PULLS[:1]:
        for strength in STRENGTHS:
            weights, bias = regression(inputs, targets, strength / square, pull * directions / square, task)
            logits = shown @ weights.T + bias
            loss, _ = task.probe_loss(logits, rows.validation_targets)
            if loss < best:
                best, chosen, answers = loss, (weights, bias - weights @ centre), logits
    output = model.get_submodule(output_layer(model, classes).removesuffix(".weight"))
    with torch.no_grad():
        for parameter, values in zip((output.weight, output.bias), chosen, strict=True):
            if parameter is not None:
                parameter.copy_(torch.as_tensor(values))
    return answers.astype(np.float32)
