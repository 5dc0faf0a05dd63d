"""One more family of tokenizers: entries are the text itself, without marks for spaces or bytes.

The class goes to the end of `workflow/bld/tokenization/families.py`; nothing else is edited.
"""

from bld.tokenization.families import Family, Specification, components


class PlainText(Family):
    """Every entry spells its own characters."""

    @classmethod
    def matches(cls, specification: Specification) -> bool:
        """A model with nothing around it."""
        marks = ("continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
        model = specification["model"]
        return not any(map(model.get, marks)) and not any(components(specification))

    def spell(self, entry: str) -> bytes:
        """Itself."""
        return entry.encode()
