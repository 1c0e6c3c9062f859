"""Errors as pages: what went wrong and what to do, with the status that fits."""

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException as StarletteHTTPException

from services import render
from services.errors import Conflict, NotFound, PaperwireError
from services.telemetry import log
from services.web.request_context import NeedsSignIn, signin_path

TITLES = {
    401: "Not allowed",
    403: "Not allowed",
    404: "Nothing here",
    405: "Not that way",
    409: "That does not fit",
    413: "Too large",
    500: "Something broke",
    503: "One moment",
}


def install(app: FastAPI) -> None:
    app.add_exception_handler(NeedsSignIn, _needs_signin)
    app.add_exception_handler(RequestValidationError, _bad_address)
    app.add_exception_handler(StarletteHTTPException, _http)
    app.add_exception_handler(PaperwireError, _ours)
    app.add_exception_handler(DBAPIError, _database)
    app.add_exception_handler(PoolTimeout, _database)
    app.add_exception_handler(Exception, _unforeseen)


def problem(status: int, text: str) -> Response:
    html = render.render("web/problem.html", title=TITLES.get(status, "That did not work"), text=text)
    return Response(html, status, media_type="text/html; charset=utf-8")


def _needs_signin(request: Request, error: Exception) -> Response:
    if request.headers.get("HX-Request") == "true":
        return Response(status_code=401, headers={"HX-Redirect": "/signin"})
    return RedirectResponse(signin_path(request), 303)


def _bad_address(request: Request, error: Exception) -> Response:
    return problem(404, "This address leads nowhere.")


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    text = error.detail if isinstance(error, HTTPException) else "This address leads nowhere."
    return problem(error.status_code, text)


def _ours(request: Request, error: Exception) -> Response:
    status = 404 if isinstance(error, NotFound) else 409 if isinstance(error, Conflict) else 400
    text = str(error)
    return problem(status, text[:1].upper() + text[1:] + ".")


def _database(request: Request, error: Exception) -> Response:
    # The route, not the address: links that need no sign-in carry their secret there.
    route = getattr(request.scope.get("route"), "path", "")
    log.warning("database failed a page", route=route, why=type(error).__name__)
    if isinstance(error, OperationalError | PoolTimeout):
        return problem(503, "The database does not answer in time. Try again in a moment.")
    raise error


def _unforeseen(request: Request, error: Exception) -> Response:
    """The server logs the error itself, with its traceback."""
    return problem(500, "This is a fault of paperwire; the log of the web process tells more.")
