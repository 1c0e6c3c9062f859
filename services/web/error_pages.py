"""Errors as pages: what went wrong, what to do, and the status code."""

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException as StarletteHTTPException

from services import render
from services.errors import Busy, Conflict, NotFound, PaperwireError
from services.telemetry import log
from services.web import security_headers
from services.web.request_context import NeedsSignIn, WillBeDeleted, signin_path

TITLES = {
    401: "Not allowed",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Too large",
    429: "Too many requests",
    500: "Internal error",
    503: "Temporarily unavailable",
}

NO_PAGE = "This page does not exist. Check the address."
FRAMEWORK_ERRORS = {
    400: "This form could not be read. Go back, reload the page and try again.",
    405: "This address takes no requests of this kind. Open the page and use its buttons.",
}
"""What to do about errors that the framework reports, by status code."""

STATUS_CODES = {NotFound: 404, Conflict: 409, Busy: 429}
"""The status codes of errors; of the others 400."""


def install(app: FastAPI) -> None:
    app.add_exception_handler(NeedsSignIn, _needs_signin)
    app.add_exception_handler(WillBeDeleted, _will_be_deleted)
    app.add_exception_handler(RequestValidationError, _invalid_path)
    app.add_exception_handler(StarletteHTTPException, _http_error)
    app.add_exception_handler(PaperwireError, _paperwire_error)
    app.add_exception_handler(DBAPIError, _database_error)
    app.add_exception_handler(PoolTimeout, _database_error)
    app.add_exception_handler(Exception, _unexpected_error)


def problem(status: int, text: str) -> Response:
    html = render.render("web/problem.html", title=TITLES.get(status, "Request failed"), text=text)
    return Response(html, status, media_type="text/html; charset=utf-8")


def _needs_signin(request: Request, error: Exception) -> Response:
    if request.headers.get("HX-Request") == "true":
        return Response(status_code=401, headers={"HX-Redirect": "/signin"})
    return RedirectResponse(signin_path(request), 303)


def _will_be_deleted(request: Request, error: Exception) -> Response:
    if request.headers.get("HX-Request") == "true":
        return Response(status_code=403, headers={"HX-Redirect": "/account/deletion"})
    return RedirectResponse("/account/deletion", 303)


def _invalid_path(request: Request, error: Exception) -> Response:
    return problem(404, NO_PAGE)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    text = error.detail if isinstance(error, HTTPException) else FRAMEWORK_ERRORS.get(error.status_code, NO_PAGE)
    return problem(error.status_code, text)


def _paperwire_error(request: Request, error: Exception) -> Response:
    status = next((status for kind, status in STATUS_CODES.items() if isinstance(error, kind)), 400)
    text = str(error)
    return problem(status, text[:1].upper() + text[1:] + ".")


def _database_error(request: Request, error: Exception) -> Response:
    # Log the route, not the URL: the URL of a page without sign-in contains a secret.
    route = getattr(request.scope.get("route"), "path", "")
    log.warning("a page failed with a database error", route=route, why=type(error).__name__)
    if isinstance(error, OperationalError | PoolTimeout):
        return problem(503, "The database does not answer in time. Try again in a minute.")
    raise error


def _unexpected_error(request: Request, error: Exception) -> Response:
    # The server logs the traceback. This response does not pass through the middleware.
    response = problem(500, "This is an error in paperwire. The log of the web process has the details.")
    security_headers.add(response.headers, request.url.path, is_https=request.app.state.context.is_https)
    return response
