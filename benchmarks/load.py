"""What the load test's clients do, for locust: each posts one text after another and waits for nothing in between.

TEXTS names a JSON file with the texts.
"""

import json
import os
import random
from pathlib import Path

from locust import FastHttpUser, task


class Client(FastHttpUser):
    """A connection that is kept open."""

    def on_start(self):
        """Texts in an order of its own."""
        self.texts = json.loads(Path(os.environ["TEXTS"]).read_text(encoding="utf-8"))
        random.shuffle(self.texts)

    @task
    def predict(self):
        """One text, the last one next time at the other end."""
        self.texts.insert(0, text := self.texts.pop())
        self.client.post("/predict", json={"text": text})
