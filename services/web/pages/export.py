"""Everything that belongs to an account as one JSON file, which is written while it is read from the database."""

import json
from collections.abc import Iterator
from datetime import date, datetime, time
from enum import Enum
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse

from services.store.accounts import export
from services.web.pages.sessions import whose
from services.web.request_context import Leaving, RequestContext

router = APIRouter(prefix="/account/export")


@router.get("")
def download(request: Leaving) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="paperwire-{request.account_id}.json"'}
    return StreamingResponse(_parts(request), media_type="application/json", headers=headers)


def _parts(request: RequestContext) -> Iterator[str]:
    yield '{"format": "paperwire export 1"'
    for section in export.sections(request.app.db, request.account_id, whose(request)):
        yield f",\n{json.dumps(section.name)}: ["
        for number, values in enumerate(section.rows):
            row = dict(zip(section.columns, values, strict=True))
            yield f"{',' if number else ''}\n{json.dumps(row, default=_plain, ensure_ascii=False)}"
        yield "]"
    yield "}\n"


def _plain(value: Any) -> str:
    """Values that JSON has not: times as ISO 8601."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value.value if isinstance(value, Enum) else value)
