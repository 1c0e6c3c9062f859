"""The tables, named as in docs/glossary.md. Migrations create them; a test checks that both agree."""

from pgvector.sqlalchemy import VECTOR
from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Time,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, TSVECTOR

from services.domain.delivery.schedule import DEFAULT_TIME
from services.domain.delivery.state_machine import DeliveryKind, State
from services.domain.sources.batches import BatchState
from services.domain.subscriptions.cadence import Cadence
from services.store.db.columns import EnumText, FeedHintsJson
from services.store.db.columns import at as _at
from services.store.db.columns import count as _count
from services.store.db.columns import created as _created
from services.store.db.columns import enum_column as _enum
from services.store.db.columns import flag as _flag
from services.store.db.columns import lease as _lease
from services.store.db.columns import number as _id
from services.store.db.columns import random_key as _random_key
from services.store.db.columns import ref as _ref
from services.store.db.columns import text_column as _text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


# ── people ────────────────────────────────────────────────────────────────────────────────────────────────────

account = Table(
    "account", metadata, _id(),
    Column("email", Text, nullable=False, unique=True), _text("new_email"),
    _text("timezone", "UTC"), Column("quiet_from", Time), Column("quiet_to", Time), _flag("operator"), _at("delete_at"), _at("disabled_at"), _created(),
    CheckConstraint("email = lower(email)", name="lower_email"),
    Index("ix_account_delete_at", "delete_at", postgresql_where=text("delete_at IS NOT NULL")),
)  # fmt: skip

api_token = Table(
    "api_token", metadata, _id(), _ref("account_id", "account.id", index=True),
    Column("digest", LargeBinary, nullable=False, unique=True), _created(), _at("revoked_at"),
)  # fmt: skip

member = Table(
    "member", metadata, _id(), _ref("account_id", "account.id"), Column("email", Text, nullable=False, unique=True),
    _text("role", "member"), _text("issuer"), _text("subject"), _at("signed_in_at"), _created(),
    UniqueConstraint("account_id", "id"), Index("uq_member_identity", "issuer", "subject", unique=True, postgresql_where=text("issuer <> ''")),
    CheckConstraint("email = lower(email)", name="lower_email"), CheckConstraint("role IN ('owner', 'member')", name="role"),
)  # fmt: skip

change_log = Table(
    "change_log", metadata, _id(), _ref("account_id", "account.id"), Column("member_id", BigInteger),
    _text("actor", None), _text("ip"), _text("what", None), _text("detail"),
    Column("created_at", TIMESTAMP(timezone=True), nullable=False, server_default=func.now(), index=True),
    Index("ix_change_log_account_id", "account_id", "id"),
)  # fmt: skip

session = Table(
    "session", metadata, _id(), Column("digest", LargeBinary, nullable=False, unique=True),
    Column("account_id", BigInteger, nullable=False), Column("member_id", BigInteger, nullable=False),
    ForeignKeyConstraint(["account_id", "member_id"], ["member.account_id", "member.id"], ondelete="CASCADE"),
    Index("ix_session_account_id", "account_id", "member_id"),
    _text("address"), _text("user_agent"), _created(),
    Column("used_at", TIMESTAMP(timezone=True), nullable=False, server_default=func.now()), _at("ended_at"),
)  # fmt: skip

invitation = Table(
    "invitation", metadata, _id(), _text("email", None), _ref("invited_by", "account.id", index=True), _created(),
    _ref("account_id", "account.id", nullable=True, index=True), _text("role", "member"),
    _at("expires_at", nullable=False), _at("used_at"), _at("revoked_at"),
    Column("next_attempt_at", TIMESTAMP(timezone=True), server_default=func.now()),
    Index("ix_invitation_due", "next_attempt_at", postgresql_where=text("next_attempt_at IS NOT NULL")),
)  # fmt: skip

signin_link = Table(
    "signin_link", metadata, Column("digest", LargeBinary, primary_key=True),
    _ref("account_id", "account.id", nullable=True, index=True), _ref("invitation_id", "invitation.id", nullable=True, index=True), _text("email"), Column("browser", LargeBinary, nullable=False, server_default=""),
    _text("issuer"), _text("subject"), _at("expires_at", nullable=False), _at("used_at"), _created(),
)  # fmt: skip

link_request = Table(
    "link_request", metadata, _id(), _text("email", None), _text("ip"), Column("browser", LargeBinary, nullable=False, server_default=""), _text("issuer"), _text("subject"),
    Column("created_at", TIMESTAMP(timezone=True), nullable=False, server_default=func.now(), index=True),
    Column("next_attempt_at", TIMESTAMP(timezone=True), server_default=func.now()),
    Index("ix_link_request_due", "next_attempt_at", postgresql_where=text("next_attempt_at IS NOT NULL")),
)  # fmt: skip

channel = Table(
    "channel", metadata, _id(), _ref("account_id", "account.id"),
    _text("kind", None), _text("label", None), Column("target", JSONB, nullable=False),
    Column("secret", LargeBinary), _text("transport"),
    Column("at", Time, nullable=False, server_default=DEFAULT_TIME),
    Column("weekday", SmallInteger, nullable=False, server_default="0"),
    _text("rate_limit_key"), _flag("at_most_once"), _flag("verified"), _text("disabled_because"), _at("disabled_at"), _at("refusals_since"), _at("requests_since"), _at("unsubscribed_at"),
    Column("last_digest_on", Date), _at("next_digest_at"), _at("deleted_at"), _created(),
    UniqueConstraint("account_id", "id"), Index("ix_channel_next_digest_at", "next_digest_at", postgresql_where=text("deleted_at IS NULL")),
    Index("uq_channel_target", "account_id", "kind", "label", unique=True, postgresql_where=text("deleted_at IS NULL")),
)  # fmt: skip

confirmation = Table(
    "confirmation", metadata, _id(), _text("address", None), _text("ip"),
    # No foreign key: the limits of an address outlast the account that asked.
    Column("account_id", BigInteger),
    Column("created_at", TIMESTAMP(timezone=True), nullable=False, server_default=func.now(), index=True),
)  # fmt: skip

suppression = Table(
    "suppression", metadata, Column("address", Text, primary_key=True), _text("because", None), _flag("refused"), _created(),
)  # fmt: skip

transport = Table(
    "transport", metadata, Column("key", Text, primary_key=True), _text("down_because"), _at("check_at"), _count("failures"),
    _at("opened_at"), Column("opened_by", BigInteger),
)  # fmt: skip

# ── papers ────────────────────────────────────────────────────────────────────────────────────────────────────

rate_limit = Table(
    "rate_limit", metadata, Column("key", Text, primary_key=True), _at("available_at"), _at("acquired_at"), *_lease(),
)  # fmt: skip

source = Table(
    "source", metadata, _id(), _text("kind", None), _text("location"), _ref("account_id", "account.id", nullable=True),
    _flag("polled"), _flag("announce_first"), Column("every", Interval), _at("next_poll_at"), *_lease(),
    Column("rate_limit_key", ForeignKey("rate_limit.key")), Column("rate_limit_pause", Interval),
    _text("etag"), _text("last_modified"), Column("digest", LargeBinary, nullable=False, server_default=""),
    _text("moved_to"), _text("redirect_to"), _count("redirect_reads"), _count("failures"), _text("error"), Column("feed_hints", FeedHintsJson, nullable=False, server_default="{}"),
    _at("polled_at"), _at("succeeded_at"), _at("failing_since"), _created(),
    UniqueConstraint("kind", "location"),
)  # fmt: skip

listing = Table(
    "listing", metadata, _id(), _ref("source_id", "source.id", index=True), _at("fetched_at", nullable=False),
    Column("body", LargeBinary), _text("content_type"), Column("day", Date), _text("url"), _text("address"), _flag("silent"),
    _count("attempts"), *_lease(), _text("error"), _at("read_again_at"), _at("done_at"),
    Index("ix_listing_waiting", "id", postgresql_where=text("done_at IS NULL")),
)  # fmt: skip

batch = Table(
    "batch", metadata, _id(), _ref("source_id", "source.id"), Column("announced_on", Date, nullable=False),
    Column("announced", Integer), _count("fetched"), _count("new"), _count("known"), _count("updated"), _count("skipped"),
    _count("read_so_far"), _enum("state", BatchState, BatchState.MISSING), _text("note"), _at("updated_at"), _flag("silent"),
    _count("look_backs"), _at("next_read_at"), _text("next_url"), *_lease(),
    UniqueConstraint("source_id", "announced_on"),
    Index("ix_batch_due", "next_read_at", postgresql_where=text("next_read_at IS NOT NULL")),
    CheckConstraint("state IN ('missing', 'complete', 'partial', 'stale', 'empty', 'failed')", name="state"),
)  # fmt: skip

paper = Table(
    "paper", metadata, Column("id", BigInteger, Identity(), primary_key=True), _text("title", None), _text("abstract"),
    Column("authors", ARRAY(Text), nullable=False, server_default="{}"), Column("author_count", Integer),
    Column("categories", ARRAY(Text), nullable=False, server_default="{}"), _text("title_key", None),
    Column("announced_on", Date, nullable=False), Column("published_on", Date),
    Column("version", SmallInteger, nullable=False, server_default="1"), _count("upvotes"), _count("comments"),
    _flag("withdrawn"), Column("links", JSONB, nullable=False, server_default="{}"),
    _at("first_seen_at", nullable=False), _at("updated_at"), _ref("merged_into", "paper.id", nullable=True),
    Index("ix_paper_title_key", text("md5(title_key)")), Index("ix_paper_announced_on", "announced_on", "id"),
    Index("ix_paper_merged_into", "merged_into", postgresql_where=text("merged_into IS NOT NULL")),
    Index("ix_paper_living", "announced_on", "id", postgresql_where=text("merged_into IS NULL AND NOT withdrawn")),
)  # fmt: skip

paper_identifier = Table(
    "paper_identifier", metadata, Column("scheme", Text, primary_key=True), Column("value", Text, primary_key=True),
    _ref("paper_id", "paper.id", index=True),
)  # fmt: skip

paper_appearance = Table(
    "paper_appearance", metadata, Column("paper_id", ForeignKey("paper.id", ondelete="CASCADE"), primary_key=True),
    Column("source_id", ForeignKey("source.id", ondelete="CASCADE"), primary_key=True),
    Column("announced_on", Date, nullable=False), _at("first_seen_at", nullable=False), _flag("silent"),
    Column("entry_ids", ARRAY(Text), nullable=False, server_default="{}"),
)  # fmt: skip

paper_vector = Table(
    "paper_vector", metadata, Column("paper_id", ForeignKey("paper.id", ondelete="CASCADE"), primary_key=True),
    Column("model", Text, primary_key=True), Column("vector", VECTOR, nullable=False),
)  # fmt: skip

sentence_vector = Table(
    "sentence_vector", metadata, Column("paper_id", ForeignKey("paper.id", ondelete="CASCADE"), primary_key=True),
    Column("model", Text, primary_key=True), Column("vectors", LargeBinary), _count("attempts"), _created(),
    Index("ix_sentence_vector_wanted", "paper_id", postgresql_where=text("vectors IS NULL")),
)  # fmt: skip

model = Table(
    "model", metadata, Column("name", Text, primary_key=True), _text("setting", None), Column("dimensions", Integer),
    _at("wanted_at", nullable=False), _at("ready_at"),
)  # fmt: skip

paper_words = Table(
    "paper_words", metadata, Column("paper_id", ForeignKey("paper.id", ondelete="CASCADE"), primary_key=True),
    Column("terms", LargeBinary, nullable=False), Column("words", TSVECTOR, nullable=False),
    Index("ix_paper_words_words", "words", postgresql_using="gin"),
)  # fmt: skip

# ── matching ──────────────────────────────────────────────────────────────────────────────────────────────────

run = Table(
    "run", metadata, _id(), _created(), *_lease(), _count("attempts"), _at("embedded_at"), _at("matched_at"),
    Index("ix_run_unembedded", "id", postgresql_where=text("embedded_at IS NULL")),
)  # fmt: skip

event = Table(
    "event", metadata, Column("run_id", ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
    Column("paper_id", ForeignKey("paper.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("what", Text, primary_key=True),
    CheckConstraint("what IN ('new', 'source', 'category', 'upvotes', 'vector')", name="what"),
)  # fmt: skip

shard = Table(
    "shard", metadata, Column("id", SmallInteger, primary_key=True),
    Column("revision", BigInteger, nullable=False, server_default="0"),
)  # fmt: skip

match_job = Table(
    "match_job", metadata, Column("run_id", ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
    Column("shard", ForeignKey("shard.id"), primary_key=True), *_lease(), _count("attempts"), _at("done_at"), _text("error"),
    Column("suspect", BigInteger), _count("suspected"),
    Index("ix_match_job_waiting", "shard", "run_id", postgresql_where=text("done_at IS NULL")),
)  # fmt: skip

subscription = Table(
    "subscription", metadata, _id(), _ref("account_id", "account.id"), _text("name", None), _text("for_whom"),
    _text("query"), _text("interest"), Column("trending", Integer), Column("min_upvotes", Integer, nullable=False, server_default="0"),
    Column("sources", ARRAY(Text), nullable=False, server_default="{}"), _text("volume"), _text("best"), _flag("wide"), _enum("cadence", Cadence, Cadence.DAILY),
    Column("weights", VECTOR), Column("terms", JSONB, nullable=False, server_default="{}"), Column("threshold", Double), Column("relaxed_thresholds", ARRAY(Double), nullable=False, server_default="{}"),
    _text("model"), _flag("estimated"), _flag("examples_changed"), _at("calibrated_at"), _text("error"),
    Column("shard", ForeignKey("shard.id"), nullable=False), Column("revision", BigInteger, nullable=False),
    _random_key("feed_key"), _at("paused_until"),
    Column("watched_since", TIMESTAMP(timezone=True), nullable=False, server_default=func.now()),
    _at("reminded_at"), _at("deleted_at"), _created(),
    UniqueConstraint("account_id", "id"), Index("ix_subscription_freshness", "shard", "revision"),
    CheckConstraint("cadence IN ('immediate', 'daily', 'weekly')", name="cadence"),
)  # fmt: skip

subscription_channel = Table(
    "subscription_channel", metadata, Column("account_id", BigInteger, nullable=False),
    Column("subscription_id", BigInteger, primary_key=True), Column("channel_id", BigInteger, primary_key=True, index=True),
    _at("trending_since"),
    ForeignKeyConstraint(["account_id", "subscription_id"], ["subscription.account_id", "subscription.id"], ondelete="CASCADE"),
    ForeignKeyConstraint(["account_id", "channel_id"], ["channel.account_id", "channel.id"], ondelete="CASCADE"),
)  # fmt: skip

interest_example = Table(
    "interest_example", metadata, Column("subscription_id", ForeignKey("subscription.id", ondelete="CASCADE"), primary_key=True),
    Column("paper_id", ForeignKey("paper.id", ondelete="CASCADE"), primary_key=True, index=True), _flag("liked", True),
)  # fmt: skip

embedding_attempt = Table(
    "embedding_attempt", metadata, Column("paper_id", ForeignKey("paper.id", ondelete="CASCADE"), primary_key=True), _count("attempts"),
    Column("tried_at", TIMESTAMP(timezone=True), nullable=False, server_default=func.now()),
)  # fmt: skip

quarantine = Table(
    "quarantine", metadata, Column("paper_id", ForeignKey("paper.id", ondelete="CASCADE"), primary_key=True),
    Column("shard", ForeignKey("shard.id"), primary_key=True), _text("error", None), _created(),
)  # fmt: skip

match = Table(
    "match", metadata, _id(), Column("account_id", BigInteger, nullable=False), Column("subscription_id", BigInteger, nullable=False),
    # No foreign keys to papers and runs: they are never deleted, and checking the keys takes a third of the time of a burst.
    Column("paper_id", BigInteger, nullable=False, index=True), Column("run_id", BigInteger),
    Column("score", Double), Column("decided", JSONB, nullable=False, server_default="{}"),
    Column("revision", BigInteger, nullable=False), _at("notified_at"), _created(),
    UniqueConstraint("subscription_id", "paper_id"),
    ForeignKeyConstraint(["account_id", "subscription_id"], ["subscription.account_id", "subscription.id"], ondelete="CASCADE"),
    Index("ix_match_unnotified", "account_id", postgresql_where=text("notified_at IS NULL")),
)  # fmt: skip

feedback = Table(
    "feedback", metadata, Column("subscription_id", ForeignKey("subscription.id", ondelete="CASCADE"), primary_key=True),
    Column("paper_id", ForeignKey("paper.id", ondelete="CASCADE"), primary_key=True), _text("verdict", None), _created(),
    CheckConstraint("verdict IN ('more', 'less')", name="verdict"),
)  # fmt: skip

paper_mark = Table(
    "paper_mark", metadata, Column("account_id", ForeignKey("account.id", ondelete="CASCADE"), primary_key=True),
    Column("paper_id", ForeignKey("paper.id", ondelete="CASCADE"), primary_key=True, index=True), _at("read_at"), _at("starred_at"),
)  # fmt: skip

silence = Table(
    "silence", metadata, _id(), _ref("account_id", "account.id", index=True), _text("query"),
    _ref("subscription_id", "subscription.id", nullable=True), _at("until", nullable=False), _at("ended_at"), _created(),
)  # fmt: skip

# ── delivery ──────────────────────────────────────────────────────────────────────────────────────────────────

delivery = Table(
    "delivery", metadata, _id(), Column("account_id", BigInteger, nullable=False), Column("channel_id", BigInteger, nullable=False),
    Column("kind", EnumText(DeliveryKind), nullable=False), Column("idem_key", Text, nullable=False, unique=True), _enum("state", State, State.PENDING), _text("rate_limit_key"),
    *_lease(), _count("attempt"), _count("ambiguous_resends"), _count("expired_leases"), _at("refused_since"),
    _at("next_attempt_at"), _flag("bytes_final"), Column("message_id", Text, nullable=False, index=True), _text("subject"),
    Column("rendered", LargeBinary), Column("notes", ARRAY(Text), nullable=False, server_default="{}"),
    _text("error"), _text("receipt"), _at("sent_at"), _created(), _at("committed_at"), _at("replayed_at"),
    Column("about", BigInteger, index=True), Column("snapshot", JSONB), Column("trial", JSONB), _at("check_for_changes_at"), _flag("outage_unconfirmed"),
    UniqueConstraint("account_id", "id"),
    ForeignKeyConstraint(["account_id", "channel_id"], ["channel.account_id", "channel.id"], ondelete="CASCADE"),
    ForeignKeyConstraint(["account_id", "about"], ["delivery.account_id", "delivery.id"], ondelete="CASCADE"),
    Index("ix_delivery_check_for_changes_at", "check_for_changes_at", postgresql_where=text("check_for_changes_at IS NOT NULL")),
    CheckConstraint("state IN ('pending', 'claimed', 'sending', 'sent', 'uncertain', 'dead', 'cancelled')", name="state"),
    Index("ix_delivery_due", "next_attempt_at", postgresql_where=text("state IN ('pending', 'uncertain')")),
    Index("ix_delivery_dead", "channel_id", postgresql_where=text("state = 'dead'")),
    Index("ix_delivery_leased", "lease_until", postgresql_where=text("state IN ('claimed', 'sending')")),
)  # fmt: skip

bounce = Table(
    "bounce", metadata, _id(), Column("digest", LargeBinary, nullable=False, unique=True),
    _ref("channel_id", "channel.id", index=True), _ref("delivery_id", "delivery.id", nullable=True, index=True),
    _text("status", None), _flag("hard"), _text("diagnostic"), _created(),
)  # fmt: skip

delivery_item = Table(
    "delivery_item", metadata, _id(), Column("account_id", BigInteger, nullable=False), Column("channel_id", BigInteger, nullable=False),
    _ref("paper_id", "paper.id", index=True), _at("not_before", nullable=False), Column("cadence", EnumText(Cadence), nullable=False),
    Column("delivery_id", BigInteger, index=True), _text("dropped_because"), _created(),
    UniqueConstraint("channel_id", "paper_id"),
    ForeignKeyConstraint(["account_id", "channel_id"], ["channel.account_id", "channel.id"], ondelete="CASCADE"),
    ForeignKeyConstraint(["account_id", "delivery_id"], ["delivery.account_id", "delivery.id"]),
    Index("ix_delivery_item_due", "not_before", postgresql_where=text("delivery_id IS NULL AND dropped_because = ''")),
)  # fmt: skip

installation = Table(
    "installation", metadata, Column("id", SmallInteger, primary_key=True), CheckConstraint("id = 1", name="only_one"),
    _text("system_identifier", None), _text("paused_because"), _at("paused_at"),
)  # fmt: skip
