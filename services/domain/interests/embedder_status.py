"""What people read about embedders: a failure, and the progress of a change of model."""


def describe_failure(reason: str) -> str:
    return f"The embedder gives no vectors ({reason}): interests wait for it, queries go on."


def describe_rollover(wanted: str, serving: str, embedded: int, papers: int) -> str:
    return f"The archive is embedded anew with {wanted}: {embedded:,} of {papers:,} papers. {serving} serves."


def describe_stuck_rollover(wanted: str, reason: str) -> str:
    return f"{wanted} gives no vectors at the moment: {reason}."
