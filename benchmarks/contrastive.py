"""Train SetFit on the training rows of the workspace and score it on the test rows, to compare it with `metrics/test.json`.

    dvc exp run -S split.train_rows=64
    pip install setfit==1.2.0 sentence-transformers==6.2.0
    python -m benchmarks.contrastive [--seeds 42 43 44] [--iterations 20]

SetFit (Tunstall et al. 2022) trains the encoder on pairs of texts: for each row, `--iterations` pairs with the same label and
as many with different labels. Then it fits a logistic regression on the embeddings. Everything else has SetFit's defaults. Run
by hand; it is no part of `make bench`.
"""

import json
import tempfile
import time

from datasets import Dataset
from sklearn.linear_model import LogisticRegression
from transformers import set_seed

from finetune.base.command import Parser, run
from finetune.base.params import read_params
from finetune.rows.stored import class_ids, read_rows
from stages.download import BASE


def accuracy(iterations: int, seed: int) -> float:
    """Accuracy on the test rows after training on the training rows."""
    # Not at the top: neither is among the requirements, and `--help` works without them.
    from sentence_transformers import SentenceTransformer
    from setfit import SetFitModel, Trainer, TrainingArguments

    set_seed(seed)
    encoder = SentenceTransformer(str(BASE), device="cpu")
    encoder.max_seq_length = read_params("tokenize").max_length
    model = SetFitModel(model_body=encoder, model_head=LogisticRegression(max_iter=1000))
    train, test = read_rows("train"), read_rows("test")
    labelled = Dataset.from_dict({"text": train["text"][:], "label": class_ids(train)})
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder, num_iterations=iterations, seed=seed, report_to="none", save_strategy="no"
        )
        Trainer(model, settings, train_dataset=labelled).train()
    return float((model.predict(test["text"][:], use_labels=False, as_numpy=True) == class_ids(test)).mean())


def main():
    parser = Parser(prog="python -m benchmarks.contrastive", description="Measure SetFit on the training rows.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--iterations", type=int, default=20)
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        started = time.perf_counter()
        score = accuracy(arguments.iterations, seed)
        print(json.dumps({"seed": seed, "accuracy": score, "seconds": time.perf_counter() - started}), flush=True)


if __name__ == "__main__":
    raise SystemExit(run(main))
