"""The console as an ASGI application."""

from __future__ import annotations

from asyncio import to_thread

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.staticfiles import StaticFiles

from pipeline import VERSION, log
from pipeline.console import api, golden, live, media, people, sign_in, sites
from pipeline.console.guard import BehindProxies, SecureHeaders, SmallBodies
from pipeline.console.pages import STATIC
from pipeline.console.parts import Parts
from pipeline.console.traced import TracedRequests
from pipeline.errors import Permanent, Transient

logger = log.get(__name__)


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
    for part in (api, golden, people, live, media, sign_in, sites):
        app.include_router(part.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(SmallBodies)
    app.add_middleware(SecureHeaders, https=parts.https)
    app.add_middleware(TracedRequests, traced=parts.traced)
    app.add_middleware(BehindProxies, proxies=parts.proxies)

    @app.get("/livez", include_in_schema=False)
    async def alive() -> PlainTextResponse:
        return PlainTextResponse("ok")

    @app.get("/readyz", include_in_schema=False)
    async def ready() -> PlainTextResponse:
        await to_thread(parts.ledger.check)
        return PlainTextResponse("ok")

    @app.exception_handler(RequestValidationError)
    async def misfit(_: Request, trouble: RequestValidationError) -> JSONResponse:
        said = (f"{'.'.join(map(str, each['loc'][1:])) or each['loc'][0]}: {each['msg']}" for each in trouble.errors())
        # What was sent may be text that has no UTF-8.
        return JSONResponse({"detail": "; ".join(said).encode("utf-8", "replace").decode()}, 422)

    @app.exception_handler(Permanent)
    async def never(request: Request, trouble: Permanent) -> JSONResponse:
        logger.warning("refused", path=request.url.path, detail=trouble.detail)
        return JSONResponse({"detail": "The database cannot hold what was sent."}, 422)

    @app.exception_handler(Transient)
    async def later(request: Request, trouble: Transient) -> JSONResponse:
        logger.warning("trouble", path=request.url.path, detail=trouble.detail)
        return JSONResponse({"detail": f"The database is busy or away: {trouble.reason}."}, 503, {"Retry-After": "2"})

    return app
