"""One way to answer texts, in its own process, which times the calls it is asked for.

    python -m benchmarks.side_inference int8 2      (a file of models/export, threads)

`model` answers through transformers.pipeline, `onnx` and `int8` through onnxruntime. Each line of stdin is a JSON object
with `texts`, `batch` (of the pipeline) and `calls`; each line of stdout is the median seconds of a call with all of them.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable

from finetune.base.command import run
from finetune.runtime.classifier import FP32, INT8, Classifier
from stages.export import EXPORT

FILES = {"onnx": FP32, "int8": INT8}


def answering(side: str, threads: int) -> Callable[[list[str], int], object]:
    """Function from texts and a batch size to answers."""
    if side in FILES:
        classifier = Classifier(EXPORT, FILES[side], threads)
        return lambda texts, _: classifier.probabilities(texts)
    import torch
    from transformers import pipeline

    torch.set_num_threads(threads)
    classify = pipeline("text-classification", model=str(EXPORT), truncation=True, top_k=None, dtype=torch.float32)
    return lambda texts, batch: classify(texts, batch_size=batch)


def main(side: str, threads: str):
    answer = answering(side, int(threads))
    for line in sys.stdin:
        asked = json.loads(line)
        spent = []
        for _ in range(asked["calls"]):
            started = time.perf_counter()
            answer(asked["texts"], asked["batch"])
            spent.append(time.perf_counter() - started)
        print(statistics.median(spent), flush=True)


if __name__ == "__main__":
    raise SystemExit(run(lambda: main(*sys.argv[1:])))
