"""What is worth telling of documents that were rendered, and how often it was found."""

from __future__ import annotations

from collections import Counter

# Of answers and of contents, see `rendering`.
HIDDEN = (
    "have reasoning that the chat template does not show in its place, and are trained on without; "
    "a template or `template_arguments` that show it would train on it"
)
UNENDED = (
    "have no end token behind them, so nothing is learned of ending there; if the template writes "
    "a token that should end one, name it under `end_tokens`"
)
SERVED = (
    "stand behind {0!r} in a conversation, while a model that is to answer is served behind {1!r}; "
    "`prompt: served` trains on them behind the latter"
)
STRADDLES = (
    "begin with other tokens than in the template's text as a whole: {0!r} before them is apart, "
    "while the model may know it as part of their first token"
)


class Tally:
    """Counts what was `seen`, by its plural, and what was `found` among it."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.found: Counter[tuple[str, str]] = Counter()

    def add(self, other: Tally) -> None:
        """Count what another has counted too."""
        self.seen += other.seen
        self.found += other.found

    @property
    def notes(self) -> list[str]:
        """A sentence for each thing that was found, the most frequent first."""
        return [
            f"{count:,} of {self.seen[what]:,} {what} {text}"
            for (what, text), count in self.found.most_common()
        ]
