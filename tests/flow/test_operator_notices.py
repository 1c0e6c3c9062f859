"""Whether an operator can be told of a problem."""

from sqlalchemy import update

from services.cli import startup
from services.cli.context import CommandContext
from services.store.db.tables import account
from services.store.delivery import channels, operator_notices
from tests.support.world import Pipeline


def test_up_says_when_no_operator_can_be_reached(world: Pipeline) -> None:
    lines: list[str] = []
    context = CommandContext(world.settings, world.db)
    startup._warn_if_no_operator_can_be_reached(context, lines.append)
    assert "no operator can be told" in lines[0]
    with world.db.transaction() as tx:
        tx.execute(update(account).values(operator=True))
        assert operator_notices.can_reach_operator(tx)
    lines.clear()
    startup._warn_if_no_operator_can_be_reached(context, lines.append)
    assert lines == []
    with world.db.transaction() as tx:
        channels.disable(tx, world.email, "refused")
        assert not operator_notices.can_reach_operator(tx)
