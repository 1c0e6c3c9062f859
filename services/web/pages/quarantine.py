"""The button that releases a paper from quarantine. The Sources page lists these papers."""

from fastapi import APIRouter
from fastapi.responses import Response

from services.flow.commands import quarantine
from services.web.csrf_forms import Posted
from services.web.request_context import Id, Operator

router = APIRouter(prefix="/quarantine")


@router.post("/{paper_id}/release")
def release(request: Operator, form: Posted, paper_id: Id) -> Response:
    quarantine.release(request.app.db, paper_id)
    return request.redirect("/sources", "released")
