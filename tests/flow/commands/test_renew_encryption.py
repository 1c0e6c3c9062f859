"""Replacing the secret key: what the old key signed and encrypted goes on, until the old key is dropped."""

from sqlalchemy import text

from services.flow import opt_in_links
from services.flow.commands import channels as channel_commands
from services.flow.commands.renew_encryption import renew_encryption
from services.store.db.secrets import SecretBox
from services.store.delivery import channels
from services.store.subscriptions import atom_feeds, subscriptions
from tests.support.world import Pipeline

NEW = "the new key of thirty-two characters or more"
OTHER = "a key of somebody else of thirty-two characters"


def test_stored_tokens_are_readable_with_the_new_key_alone_after_renewal(world: Pipeline) -> None:
    (old,) = world.settings.secret_keys
    hook = channel_commands.add(world.db, world.settings, world.account, "webhook:https://hooks.example.org/x")
    both = SecretBox([NEW, old])
    assert renew_encryption(world.db, both).encrypted_again == 1
    with world.db.transaction() as tx:
        row = channels.by_id(tx, hook.id)
    assert row is not None
    assert row.secret is not None
    assert SecretBox([NEW]).decrypt(row.secret) == both.decrypt(row.secret)
    assert renew_encryption(world.db, both).encrypted_again == 0


def test_a_secret_of_an_unknown_key_is_named_and_stays(world: Pipeline) -> None:
    hook = channel_commands.add(world.db, world.settings, world.account, "webhook:https://hooks.example.org/x")
    before = world.rows(text("SELECT secret FROM channel"))
    renewed = renew_encryption(world.db, SecretBox([NEW, OTHER]))
    assert (renewed.encrypted_again, renewed.unreadable) == (0, [hook.id])
    assert world.rows(text("SELECT secret FROM channel")) == before


def test_links_and_feeds_of_an_old_key_stay_valid_until_it_is_dropped(world: Pipeline) -> None:
    (old,) = world.settings.secret_keys
    before, during, after = SecretBox([old]), SecretBox([NEW, old]), SecretBox([NEW])
    token = opt_in_links.unsubscribe_token(before, 7, "ada@example.org").partition("-")[2]
    assert during.verify(token, "unsubscribe", 7, "ada@example.org")
    assert not after.verify(token, "unsubscribe", 7, "ada@example.org")
    own = world.subscribe(query="robots")
    with world.db.transaction() as tx:
        address = atom_feeds.token(before, subscriptions.find(tx, own))
        assert atom_feeds.find_by_token(tx, during, address).id == own
        assert atom_feeds.token(during, subscriptions.find(tx, own)) != address
