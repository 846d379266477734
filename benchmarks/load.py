"""The load test's clients, for locust: each posts one text after another without a pause.

TEXTS names a JSON file with the texts.
"""

import json
import os
import random
from pathlib import Path

from locust import FastHttpUser, task


class Client(FastHttpUser):
    """A client that keeps its connection open."""

    def on_start(self):
        """Shuffles the texts, differently for each client."""
        self.texts = json.loads(Path(os.environ["TEXTS"]).read_text(encoding="utf-8"))
        random.shuffle(self.texts)

    @task
    def predict(self):
        """Posts the last text and moves it to the front."""
        self.texts.insert(0, text := self.texts.pop())
        self.client.post("/predict", json={"text": text})
