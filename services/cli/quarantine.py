"""`paperwire quarantine …`: papers that ended their workers, and another try for one."""

from typing import Annotated

import typer

from services.cli import output
from services.cli.context import Json, command_context

commands = typer.Typer(help="Papers that are not processed, because they crashed their workers.", no_args_is_help=True)
Paper = Annotated[str, typer.Argument(help="Its id, arxiv:2506.01234 or doi:…", show_default=False)]


@commands.command("list")
def list_(json: Json = False) -> None:
    """Show the quarantined papers: the stage, the time and the reason."""
    from services.store.subscriptions import quarantine

    with command_context() as context, context.db.transaction() as tx:
        found = quarantine.all_of(tx)
    if json:
        output.as_json([{**row, "paper_id": str(row["paper_id"])} for row in found])
        return
    shown = ("paper_id", "title", "stage", "shard", "at", "error")
    output.table([{name: row[name] for name in shown} for row in found], empty="no paper is set aside")


@commands.command()
def release(paper: Paper) -> None:
    """Release a paper from quarantine. It is embedded and matched again; nobody gets it twice."""
    from services.flow.commands import quarantine
    from services.store.papers import papers

    with command_context() as context:
        with context.db.transaction() as tx:
            found = papers.find(tx, paper)
        quarantine.release(context.db, found)
        output.say(f"paper {found} is put back and matched again")
        context.warn_if_no_worker_runs()
