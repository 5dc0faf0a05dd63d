"""What Mistral's models read: our tokens are those of `mistral-common`, its own package, which has
no chat template and knows a content from a token."""

import json
import subprocess
import sys

import pytest

from bld.documents.conversation import make_conversation
from bld.tokenization.rendering import Renderer
from conversations import SHAPES
from real_tokenizers import NotFetchedError, mistral_common, real_tokenizer

ENCODES = """
import json, sys
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
tokenizer = MistralTokenizer.v3(is_tekken=True)
requests = [ChatCompletionRequest(messages=m) for m in json.load(sys.stdin)]
print(json.dumps([tokenizer.encode_chat_completion(request).tokens for request in requests]))
"""
SAME = (
    "plain",
    "many turns",
    "spaces round contents",
    "all of Unicode",
    "what looks like special tokens",
)


@pytest.mark.slow
def test_conversations_are_the_tokens_that_mistral_trained_on():
    try:
        packages = mistral_common()
    except NotFetchedError as error:
        pytest.skip(str(error))
    renderer = Renderer(real_tokenizer("mistral_nemo"))
    # It encodes what is sent to a model, so all but the last answer.
    conversations = [SHAPES[name].messages[:-1] for name in SAME]
    asked = subprocess.run(
        [sys.executable, "-c", ENCODES],
        input=json.dumps(conversations),
        env={"PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
    )
    assert asked.returncode == 0, asked.stderr[-2000:]
    for messages, expected in zip(conversations, json.loads(asked.stdout), strict=True):
        document = make_conversation("it", messages)
        assert renderer.render(document.segments, "it").ids_T.tolist() == expected
