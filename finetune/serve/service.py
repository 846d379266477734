"""State shared by all requests: the loaded model, its queue of rows, the drift window and the metrics."""

import asyncio
from pathlib import Path

import numpy as np
import onnxruntime

from finetune.base.errors import UserError, one_line
from finetune.base.fields import Text
from finetune.base.files import read_json
from finetune.runtime.classifier import Classifier
from finetune.runtime.drift import PROFILE, Window
from finetune.runtime.reading import Reader, Reading
from finetune.serve import explain, schemas
from finetune.serve.monitoring import Monitor
from finetune.serve.queue import Batcher
from finetune.serve.settings import Settings
from finetune.serve.task import task_of


class Service:
    """Answers from the model in an exported folder. Raises UserError if the folder holds no model that can be served."""

    def __init__(self, settings: Settings):
        onnxruntime.set_default_logger_severity(4)  # a failing call raises an error, which the guard logs once
        # Batches already run in parallel, so more threads inside each would only compete.
        self.classifier = Classifier(settings.folder, threads=1)
        self.task = task_of(self.classifier)
        self.labels = self.classifier.labels
        self.reader = Reader(self.classifier)
        self.window = reference_window(settings.folder, self.classifier, settings.window)
        self.monitor = Monitor(self.labels, self.task.unanswered, self.window)
        self.batcher = Batcher(self.classify, settings.threads, settings.queue, self.monitor.batch.observe)
        self.monitor.waiting.set_function(lambda: self.batcher.waiting)

    def classify(self, rows: list[Text | list[int]]) -> list[tuple[Reading | None, np.ndarray]]:
        """Reading and probabilities of each row: a text, a tuple of fields, or token ids, which have no reading (None)."""
        texts = iter(self.reader.read([row for row in rows if not isinstance(row, list)]))
        readings = [None if isinstance(row, list) else next(texts) for row in rows]
        ids = [row if reading is None else reading.ids for row, reading in zip(rows, readings, strict=True)]
        return list(zip(readings, self.classifier.answer(ids), strict=True))

    async def answers(self, rows: list[Text] | list[list[int]]) -> tuple[list[Reading | None], np.ndarray]:
        """Readings, and probabilities of shape [rows, classes]. Raises Full when the queue has no room for the rows."""
        readings, probabilities = zip(*await self.batcher.answers(rows), strict=True)
        return list(readings), np.stack(probabilities)

    async def predict(self, texts: list[Text]) -> list[schemas.Prediction] | list[schemas.SetPrediction]:
        """A prediction for each text; counts them, and adds them to the drift window."""
        readings, probabilities = await self.answers(texts)
        answered = self.task.answered(probabilities)
        self.monitor.count(answered)
        if self.window:
            self.window.add(readings, probabilities)
        return self.task.predictions(readings, probabilities, answered)

    async def explain(self, text: Text, label: str | None = None) -> schemas.Explanation | schemas.SetExplanation:
        """The prediction for a text, and how far each of its words pushes it; of several labels, the one that is named."""
        self.batcher.check_room(explain.most_rows(text))  # before the work of building them
        (reading,) = await asyncio.to_thread(self.reader.read, [text])
        parts = await asyncio.to_thread(explain.parts, self.classifier, text)
        _, probabilities = await self.answers(parts.rows)
        answered = self.task.answered(probabilities[:1])
        shown = self.task.explained(probabilities[0], answered[0], label)
        push = dict(zip(parts.left_out, explain.pushes(probabilities, shown), strict=True))
        (prediction,) = self.task.predictions([reading], probabilities[:1], answered)
        pieces = [
            schemas.Part(text=part, push=push.get(index))
            for index, part in enumerate(parts.texts)
            if part or index in push
        ]
        return self.task.explanation(prediction, shown, pieces)

    def health(self) -> schemas.Health:
        """The model served, and how far recent texts have drifted."""
        return schemas.Health(
            status="ok",
            model=self.classifier.model.as_posix(),
            labels=self.labels,
            drift=drift_now(self.window) if self.window else None,
        )

    def close(self):
        """Waits for running model calls; waiting requests get Stopping."""
        self.batcher.close()


def reference_window(folder: Path, classifier: Classifier, size: int) -> Window | None:
    """Drift window for the folder's reference profile; None if an older export stored none."""
    path = folder / PROFILE
    if not path.is_file():
        return None
    labels = classifier.labels
    try:
        profile = read_json(path)
        if profile["labels"] == labels:
            return Window(profile, size, classifier.thresholds)
        problem = f"is for the labels {', '.join(profile['labels'])}, but the model has {', '.join(labels)}"
    except (ValueError, KeyError, TypeError) as error:
        problem = f"is not a reference profile ({type(error).__name__}: {one_line(error)})"
    raise UserError(f"{path} {problem}; export the model again with `dvc repro export`")


def drift_now(window: Window) -> schemas.Drift:
    """The window compared with its reference, as /health reports it."""
    features = {}
    for name in window.features:
        distance, limit = window.distance(name), window.limit(name)
        features[name] = schemas.DriftOfFeature(
            distance=round(distance, 4),
            limit=round(limit, 4),
            drifted=len(window.places) >= window.fewest and distance > limit,
        )
    return schemas.Drift(
        verdict=window.verdict(), texts=len(window.places), window=window.places.maxlen, features=features
    )
