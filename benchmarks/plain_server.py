"""The obvious server, which ours is compared with: a FastAPI application around `transformers.pipeline`.

MODEL=models/export python -m uvicorn --factory benchmarks.plain_server:create_app
"""

import os

from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline


class Body(BaseModel):
    text: str


def create_app() -> FastAPI:
    """The application, on the exported folder that MODEL names."""
    classify = pipeline("text-classification", model=os.environ["MODEL"], truncation=True)
    app = FastAPI()

    @app.post("/predict")
    def predict(body: Body):
        return classify(body.text)[0]

    return app
