from collections.abc import Callable

import numpy as np
import pytest

from bld.tokenization.vocabulary import Vocabulary


@pytest.fixture(scope="session")
def random_model() -> Callable:
    """(vocabulary, seed) -> a model whose distribution depends on every token of the history."""

    def model(vocabulary: Vocabulary, seed: int, dtype: type = np.float64):
        silent = {i for i, spelt in enumerate(vocabulary.token_bytes) if spelt is None}
        absent = list(silent - vocabulary.special)

        def next_log_probs(tokens: tuple[int, ...]) -> np.ndarray:
            logits = 2 * np.random.default_rng([seed, *tokens]).standard_normal(len(vocabulary))
            logits[absent] = -np.inf
            return (logits - np.logaddexp.reduce(logits)).astype(dtype)

        return next_log_probs

    return model
