"""A model behind HTTP: posts in, triples out, the same that `mmre predict` writes.

A request is read within its limits, its posts are checked in threads, and then wait in one queue for the one thread
that has the model, see [`Batcher`]. What comes from outside is data: no path and no address in it is opened.
"""

import asyncio
import json
import os
import re
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, JSONResponse, Response
from jinja2 import Template
from prometheus_client import CONTENT_TYPE_LATEST
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from transformers.utils import logging
from uvicorn.protocols.http.h11_impl import H11Protocol

from mmre.annotation.annotator import picture_settings
from mmre.evaluation.thresholds import read_thresholds_of
from mmre.processing import load_spacy

from .batching import Batcher, QueueFullError
from .predictor import Predictor
from .request_posts import PostReader, RefusedError
from .run import open_pipeline, open_schema
from .serving_arguments import ServingArguments
from .serving_metrics import ServingMetrics
from .serving_schema import EXAMPLES, POST_SCHEMA, REQUEST_BODY, STATUSES, describe_responses
from .triples import triple_line

logger = logging.get_logger(__name__)

PAGE = Path(__file__).with_name("serving_page.html")
# All of them may hold a whole request in memory.
MAX_CONNECTIONS = 128
RETRY_AFTER = {"Retry-After": "1"}
# The rest of a request that was cut off is not read.
CLOSE = {"Connection": "close"}


class Service:
    """Serves a loaded model: its limits, its queue and its figures; free of HTTP.

    Args:
        model: folder of a model or of a LoRA adapter, or its name on the Hub.
        args: address, batches and limits.

    Raises:
        ImportError: spaCy is needed and not installed.
        OSError: a model is not there.
        ValueError: the model is none for relations, or does not read what is to be found.
    """

    def __init__(self, model: str, args: ServingArguments):
        self.args, self.name = args, Path(model).resolve().name if os.path.isdir(model) else model
        self.no_entities, nlp = None, None
        try:
            nlp = load_spacy(args.spacy_model)
        except (ImportError, OSError) as error:
            if "grounding" in args.tasks:
                raise
            self.no_entities = str(error)
        extract = open_pipeline(model, args)
        self.relations = list(extract.model.config.id2label.values())
        schema, self.thresholds = open_schema(extract, args), None
        if args.thresholds is not None:
            self.thresholds = read_thresholds_of(args.thresholds, extract.model.config)
        self.predictor = Predictor(extract, args, picture_settings(args, nlp), nlp, "", schema)
        self.reader, self.pool = PostReader(args, nlp), ThreadPoolExecutor()
        self.metrics = ServingMetrics(lambda: len(self.batcher))
        wait = args.max_wait_ms / 1000
        self.batcher = Batcher(self._predict, args.batch_size, wait, args.max_queue, self.metrics.note_batch)

    def _predict(self, posts: list[dict]) -> list[dict]:
        return [self._answer(row) for row in self.predictor(posts, self.pool)]

    def _answer(self, row: dict) -> dict:
        if "error" in row:
            # The name of a picture is ours.
            return {"id": row["id"], "error": re.sub(r"^image picture [0-9a-f]+: ", "image: ", row["error"])}
        high = [found for found in row["relations"] if found["score"] >= self.args.min_score]
        stated = high
        if self.thresholds is not None:
            stated = [found for found in high if self.thresholds.keeps(found["label"], found["score"])]
        counts = {"low": len(row["relations"]) - len(high), "below_threshold": len(high) - len(stated)}
        left_out = {name: count for name, count in (row["left_out"] | counts).items() if count}
        text = {"text": row["text"]} if "text" in row else {}
        return (
            {"id": row["id"]}
            | text
            | {"triples": [triple_line(row | found) for found in stated]}
            | {"left_out": left_out}
        )

    def close(self) -> None:
        """Finish what waits, and take nothing more."""
        self.batcher.close()
        self.pool.shutdown()


def make_app(service: Service) -> FastAPI:
    """Build the application around a service, which it closes at its end.

    Paths: `/predict`, `/health`, `/health/live`, `/metrics`, `/docs`, `/openapi.json`.
    """
    args = service.args

    @asynccontextmanager
    async def lifespan(app: FastAPI):
        # Pictures and JSON are read by as many threads as there are processors.
        app.state.readers = CapacityLimiter(os.cpu_count() or 1)
        yield
        await to_thread.run_sync(service.close)

    version = metadata.version("mmre")
    description = f"Relations between the entities of posts with pictures, by the model {service.name}."
    # The usual pages of FastAPI fetch their scripts from elsewhere.
    app = FastAPI(
        title="mmre", version=version, description=description, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.router.redirect_slashes = False
    app.add_middleware(_Measured, note=service.metrics.note_request)

    @app.exception_handler(RefusedError)
    def refuse(_: Request, error: RefusedError) -> JSONResponse:
        return JSONResponse({"errors": error.errors}, error.status, error.headers)

    @app.exception_handler(HTTPException)
    def refuse_as_starlette(_: Request, error: HTTPException) -> JSONResponse:
        text = STATUSES.get(error.status_code, error.detail)
        return JSONResponse({"errors": [text]}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    def fail(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"errors": [STATUSES[500]]}, 500)

    @app.post(
        "/predict",
        summary="Extract the triples of posts",
        openapi_extra={"requestBody": REQUEST_BODY},
        responses=describe_responses(),
    )
    async def predict(request: Request) -> Response:
        try:
            service.batcher.check_room()  # before anything is read
            posts = await _read_posts(request, service, app.state.readers)
            waiting = service.batcher.submit(posts)
        except QueueFullError as error:
            raise RefusedError(503, f"{STATUSES[503]} ({error})", headers=RETRY_AFTER | CLOSE) from error
        answers = await asyncio.gather(*map(asyncio.wrap_future, waiting))
        service.metrics.note_posts(answers)
        if all("error" in each for each in answers):
            raise RefusedError(422, *(f"posts[{number}]: {each['error']}" for number, each in enumerate(answers)))
        return JSONResponse({"posts": answers})

    @app.get("/health", summary="Tell whether posts are taken")
    async def health() -> Response:
        ready = service.batcher.is_working
        state = {"live": True, "ready": ready, "model": service.name, "waiting": len(service.batcher)}
        return JSONResponse(state, 200 if ready else 503)

    @app.get("/health/live", summary="Tell whether the server answers")
    async def live() -> Response:
        return JSONResponse({"live": True})

    @app.get("/metrics", summary="Figures for Prometheus")
    async def metrics() -> Response:
        return Response(service.metrics.as_text(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        examples = {name: json.dumps(value, ensure_ascii=False, indent=2) for name, value in EXAMPLES.items()}
        page = Template(PAGE.read_text("utf-8"), autoescape=True).render(
            service=service,
            args=args,
            host=request.headers.get("host", ""),
            examples=examples,
            fields=POST_SCHEMA["properties"],
            statuses=STATUSES,
        )
        policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})

    return app


async def _read_posts(request: Request, service: Service, readers: CapacityLimiter) -> list[dict]:
    """Read the posts of a request."""
    kind, _ = parse_options_header(request.headers.get("content-type", ""))
    kind = kind.decode("latin-1").lower()
    if kind not in ("application/json", "multipart/form-data") or "content-encoding" in request.headers:
        raise RefusedError(415, STATUSES[415], headers=CLOSE)
    body = await _read_body(request, int(service.args.max_body_mb * 1e6), service.args.max_seconds)
    if kind == "application/json":
        return await to_thread.run_sync(service.reader.read_json, body, limiter=readers)
    post, picture = await _read_form(request, body)
    return await to_thread.run_sync(service.reader.read_parts, post, picture, limiter=readers)


async def _read_body(request: Request, max_bytes: int, seconds: float) -> bytes:
    """Read the body of a request; one that is too large is cut off, and one that is too slow given up."""
    too_large = RefusedError(413, f"the body: more than {max_bytes} bytes", headers=CLOSE)
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise too_large
    body = bytearray()
    try:
        with anyio.fail_after(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise too_large
    except TimeoutError:
        raise RefusedError(408, f"the body did not arrive in {seconds:g} seconds", headers=CLOSE) from None
    except ClientDisconnect:
        raise RefusedError(400, "the body is not complete", headers=CLOSE) from None
    return bytes(body)


async def _read_form(request: Request, body: bytes) -> tuple[str | bytes, bytes | None]:
    """Read the parts of a form, `post` and perhaps `image`. The name of a file is not looked at."""

    async def receive() -> dict:
        return {"type": "http.request", "body": body, "more_body": False}

    parts = Request(request.scope, receive)
    try:
        async with parts.form(max_files=2, max_fields=2, max_part_size=len(body) + 1) as form:
            names = sorted(name for name, _ in form.multi_items())
            if names not in (["post"], ["image", "post"]):
                found = ", ".join(ascii(name[:50]) for name in names) or "none"
                raise RefusedError(422, f"the parts {found}; expected post, its JSON, and perhaps image, a file")
            post, picture = form["post"], form.get("image")
            if isinstance(picture, str):
                raise RefusedError(422, "image: a text; expected a file (paths and addresses are not opened)")
            post = await post.read() if isinstance(post, UploadFile) else post
            # A browser sends an empty file where none was chosen.
            is_none = picture is None or not (picture.filename or picture.size)
            return post, None if is_none else await picture.read()
    except HTTPException as error:
        raise RefusedError(400, f"the form is malformed: {error.detail}") from None


class _Measured:
    """Tells path, status and seconds of each request, by the paths that are known: others have no end."""

    PATHS = ("/predict", "/health", "/health/live", "/metrics", "/docs", "/openapi.json")

    def __init__(self, app: Callable, note: Callable[[str, int, float], None]):
        self.app, self.note = app, note

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def sending(message: dict) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, sending)
        finally:
            path = scope["path"] if scope["path"] in self.PATHS else "other"
            self.note(path, status, time.perf_counter() - start)


def patient_protocol(seconds: float) -> type[H11Protocol]:
    """Return uvicorn's protocol of HTTP, which closes a connection whose request has not begun after some seconds.

    uvicorn itself waits without end for the headers of a client that sends them letter by letter. And the second part
    of an answer waits for nothing: asyncio sets that for sockets that name their protocol, which those that are
    accepted here do not, so that each answer took 40 ms longer.
    """

    class PatientProtocol(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            super().connection_made(transport)
            self.given_up = self.loop.call_later(seconds, self._give_up)

        def on_response_complete(self) -> None:
            self.given_up.cancel()
            self.given_up = self.loop.call_later(seconds, self._give_up)
            super().on_response_complete()

        def _give_up(self) -> None:
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            self.given_up.cancel()
            super().connection_lost(exc)

    return PatientProtocol


def serve(model: str, args: ServingArguments, say: Callable[[str], None]) -> None:
    """Serve a model until the process is told to end; what was begun is finished then.

    Args:
        model: folder of a model or of a LoRA adapter, or its name on the Hub.
        args: address, batches and limits.
        say: is told what is served, and where.

    Raises:
        ImportError: spaCy is needed and not installed.
        OSError: a model is not there, or the address is taken.
        ValueError: the model is none for relations, or does not read what is to be found.
    """
    try:
        listening = socket.create_server((args.host, args.port), family=_family(args.host))
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"--host {args.host} --port {args.port}: {reason}; give another --port") from error
    with listening:
        service = Service(model, args)
        host = f"[{args.host}]" if ":" in args.host else args.host
        say(f"{service.name} is served at http://{host}:{listening.getsockname()[1]} (/docs has examples)")
        if service.no_entities is not None:
            say(f"entities are not found here, posts have to name theirs: {service.no_entities}")
        config = uvicorn.Config(
            make_app(service),
            http=patient_protocol(args.max_seconds),
            ws="none",
            # Lines of requests have addresses with whatever clients put into them, tokens too.
            access_log=False,
            log_level="warning",
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
        )
        uvicorn.Server(config).run(sockets=[listening])


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


__all__ = ["Service", "make_app", "serve"]
