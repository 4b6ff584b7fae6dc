"""The routes: which endpoints an artifact's task has, and how everything else is answered."""

from __future__ import annotations

import logging

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from smelt.runtime.serve.errors import ApiError
from smelt.runtime.serve.limits import Gate
from smelt.runtime.serve.service import Service

_OF_TASKS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
_log = logging.getLogger("smelt.serve")


def build_app(service: Service) -> Starlette:
    """The ASGI application of one artifact."""
    mine = service.endpoints
    routes = [
        *(Route(path, mine.get(path, _of_others), methods=["POST"]) for path in _OF_TASKS),
        Route("/v1/models", _models),
        Route("/v1/models/{name:path}", _model),
        Route("/health", _health),
        Route("/metrics", _metrics),
    ]
    keys = service.settings.api_keys
    known = [route.path for route in routes]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Gate, service.metrics, keys, known)],
        exception_handlers={
            ApiError: _refused,
            HTTPException: _no_route,
            ClientDisconnect: _gone,
            Exception: _broken,
        },
    )
    app.state.service = service
    return app


def _model_entry(service: Service) -> dict[str, object]:
    return {
        "id": service.settings.name,
        "object": "model",
        "created": service.created,
        "owned_by": "smelt",
        "max_model_len": service.longest,
    }


async def _models(request: Request) -> Response:
    return JSONResponse({"object": "list", "data": [_model_entry(request.app.state.service)]})


async def _model(request: Request) -> Response:
    service: Service = request.app.state.service
    service.check_model(request.path_params["name"])
    return JSONResponse(_model_entry(service))


async def _health(request: Request) -> Response:
    service: Service = request.app.state.service
    if service.stopping:
        return JSONResponse({"status": "stopping"}, 503)
    if not service.alive:
        return JSONResponse({"status": "failed"}, 503)
    return JSONResponse({"status": "ok"})


async def _metrics(request: Request) -> Response:
    service: Service = request.app.state.service
    return Response(service.metrics.text(), media_type=service.metrics.content_type)


async def _of_others(request: Request) -> Response:
    service: Service = request.app.state.service
    raise ApiError(
        404,
        f"model {service.settings.name!r} is for {service.manifest.task}, "
        f"it does not serve {request.url.path}",
        code="endpoint_not_served",
    )


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error.response()


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = f"{request.method} {request.url.path}: {error.detail.lower()}"
    answer = ApiError(error.status_code, said, headers=dict(error.headers or {}))
    return answer.response()


async def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it


async def _broken(request: Request, error: Exception) -> Response:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return ApiError(500, "the server failed, its log says why", code="internal_error").response()
