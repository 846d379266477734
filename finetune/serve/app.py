"""The web application: routes to the service, wrapped in the guard and the metrics."""

from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from finetune.serve.guard import Guard
from finetune.serve.monitoring import Measured
from finetune.serve.problems import HANDLERS
from finetune.serve.routes import NAMED, model_routes, page_routes, state_routes
from finetune.serve.service import Service
from finetune.serve.settings import Settings


def create_app(settings: Settings, token: str | None = None) -> FastAPI:
    """The application. Raises UserError if the folder holds no model that can be served."""
    service, locked = Service(settings), token is not None

    @asynccontextmanager
    async def lifespan(_):
        yield
        service.close()

    app = FastAPIOffline(
        title="Text classifier",
        description=service.task.description,
        version="1",
        redoc_url=None,
        static_url="/docs/assets",
        favicon_url="page/icon.svg",
        lifespan=lifespan,
        exception_handlers=HANDLERS,
    )
    app.state.stop_waiting = service.batcher.stop
    app.include_router(model_routes(service, settings, locked))
    app.include_router(state_routes(service))
    app.include_router(page_routes(service, settings, locked))
    # The middleware added last is the outermost.
    app.add_middleware(Guard, token=token, max_body=settings.max_body)
    app.add_middleware(Measured, monitor=service.monitor, paths=NAMED)
    return app
