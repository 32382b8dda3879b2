"""The console as an ASGI application."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from pipeline import VERSION
from pipeline.console.api import router
from pipeline.console.guard import SecureHeaders
from pipeline.console.parts import Parts
from pipeline.errors import Transient


def console(parts: Parts) -> FastAPI:
    """The application that serves these parts. Its own documentation pages are left out: they load scripts from
    elsewhere; `/openapi.json` is the document."""
    app = FastAPI(
        title="Unmask review console",
        version=VERSION,
        description="What the console's pages use; platforms that build their own tool use the same.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.state.parts = parts
    app.include_router(router)
    app.add_middleware(SecureHeaders, https=parts.https)

    @app.exception_handler(Transient)
    async def later(_: Request, trouble: Transient) -> JSONResponse:
        return JSONResponse({"detail": f"The database is busy or away: {trouble.reason}."}, 503, {"Retry-After": "2"})

    return app
