"""`paperwire quarantine …`: papers that ended their workers, and another try for one."""

from typing import Annotated

import typer

from services.cli import output
from services.cli.context import Json, opened

commands = typer.Typer(help="Papers set aside because they ended their workers.", no_args_is_help=True)
Paper = Annotated[str, typer.Argument(help="Its id, arxiv:2506.01234 or doi:…", show_default=False)]


@commands.command("list")
def list_(json: Json = False) -> None:
    """Show the papers that are not matched, or not embedded, since when and why."""
    from services.store.subscriptions import quarantine

    with opened() as session, session.db.transaction() as tx:
        found = quarantine.list_all(tx)
    if json:
        output.as_json([{**row, "paper_id": str(row["paper_id"])} for row in found])
        return
    shown = ("paper_id", "title", "stage", "shard", "at", "error")
    output.table([{name: row[name] for name in shown} for row in found], empty="no paper is set aside")


@commands.command()
def release(paper: Paper) -> None:
    """Put a paper back: it is embedded and matched again, and nobody is told twice."""
    from services.flow.commands import quarantine
    from services.store.papers import papers

    with opened() as session:
        with session.db.transaction() as tx:
            found = papers.find(tx, paper)
        quarantine.release(session.db, found)
        output.say(f"paper {found} is put back and matched again")
        session.say_who_works()
