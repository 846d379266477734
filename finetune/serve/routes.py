"""Routes: predictions and explanations, health and metrics, and the pages."""

import prometheus_client
from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse, Response
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from finetune.serve import schemas
from finetune.serve.pages import ASSETS, asset, card_page, card_text, try_page
from finetune.serve.service import Service
from finetune.serve.settings import Settings

PROBLEMS = {
    400: "The body is not JSON",
    408: "The body arrived too slowly",
    413: "The body is too large",
    422: "The JSON does not have the expected form",
    500: "The model failed; the server's log gives the reason",
    503: "Too many texts are waiting; Retry-After says when to try again",
}
# Paths counted under their own name in the metrics.
NAMED = {"/predict", "/explain", "/health", "/metrics", "/", "/card"}


def model_routes(service: Service, settings: Settings, locked: bool) -> APIRouter:
    """POST /predict and POST /explain. `locked`: they are documented as requiring a token."""
    task = service.task
    named = service.labels if service.classifier.several else None
    bodies = schemas.requests(settings.max_texts, settings.max_characters, service.classifier.columns, named)
    problems = {status: {"model": schemas.Problem, "description": text} for status, text in PROBLEMS.items()}
    guarded = []
    if locked:
        # Only for the OpenAPI document: serve/guard.py checks the token before the body is read.
        guarded = [Depends(HTTPBearer(auto_error=False))]
        problems[401] = {"model": schemas.Problem, "description": "The token is missing or wrong"}
    router = APIRouter(responses=problems, dependencies=guarded)

    @router.post("/predict")
    async def predict(body: bodies.one_or_many) -> task.Predictions:
        """Classify one text or many, with calibrated probabilities."""
        texts = getattr(body, "texts", None) or [body.text]
        predictions = await service.predict([schemas.text_of(text) for text in texts])
        return task.Predictions.model_construct(predictions=predictions)

    @router.post("/explain")
    async def explain(body: bodies.one) -> task.Explanation:
        """Classify one text and say how far each word pushes the answer. Costs as much as classifying one text per word."""
        return await service.explain(schemas.text_of(body.text), getattr(body, "label", None))

    return router


def state_routes(service: Service) -> APIRouter:
    """GET /health and GET /metrics."""
    router = APIRouter()

    @router.get("/health")
    async def health() -> schemas.Health:
        """Report that the server is up, and whether recent texts resemble those the model was validated on."""
        return service.health()

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics():
        """Counts, times and drift in the Prometheus text format."""
        text = prometheus_client.generate_latest(service.monitor.registry)
        return Response(text, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    return router


def page_routes(service: Service, settings: Settings, locked: bool) -> APIRouter:
    """The HTML pages, with the files that they load."""
    router = APIRouter(include_in_schema=False)
    card = card_text(settings.folder)
    max_length = service.classifier.max_length

    @router.get("/", response_class=HTMLResponse)
    async def page():
        return try_page(card, service.task, settings.max_characters, max_length, locked, service.classifier.columns)

    @router.get("/card", response_class=HTMLResponse)
    async def model_card():
        if card is None:
            raise HTTPException(404, "the exported folder holds no model card (README.md)")
        return card_page(card)

    for name, kind in ASSETS.items():
        file = Response(asset(name), media_type=kind)
        router.add_api_route(f"/page/{name}", lambda file=file: file, response_model=None)
    return router
