"""`paperwire quarantine …`: lists the papers in quarantine and releases one."""

from dataclasses import asdict
from typing import Annotated

import typer

from services.cli import output
from services.cli.context import Json, command_context

commands = typer.Typer(help="Papers that are not processed, because they crashed their workers.", no_args_is_help=True)
Paper = Annotated[str, typer.Argument(help="Its id, arxiv:2506.01234 or doi:…", show_default=False)]


@commands.command("list")
def list_(json: Json = False) -> None:
    """Show the quarantined papers: the stage, the time and the reason."""
    from services.domain.papers.display_text import title_text
    from services.store.subscriptions import quarantine

    with command_context() as context, context.db.transaction() as tx:
        papers = [asdict(entry) | {"title": title_text(entry.title)} for entry in quarantine.list_all(tx)]
    if json:
        output.as_json([{**paper, "paper_id": str(paper["paper_id"])} for paper in papers])
        return
    output.table(papers, empty="no paper is in quarantine")


@commands.command()
def release(paper: Paper) -> None:
    """Release a paper from quarantine. It is embedded and matched again; no channel gets it twice."""
    from services.flow.commands import quarantine
    from services.store.papers import papers

    with command_context() as context:
        with context.db.transaction() as tx:
            paper_id = papers.find(tx, paper)
        quarantine.release(context.db, paper_id)
        output.say(f"paper {paper_id} is released and matched again")
        context.warn_if_no_worker_runs()
