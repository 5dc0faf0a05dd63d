"""A tokenizer of the new family: what its entries spell, a text there and back, and a whole
document."""

import json

import numpy as np
from tokenizers import Tokenizer, models, trainers
from transformers import PreTrainedTokenizerFast

from bld.documents.document import make_document
from bld.symbols import END
from bld.tokenization.content import ContentTokenizer
from bld.tokenization.families import family_of
from bld.tokenization.rendering import Renderer
from bld.tokenization.vocabulary import read_vocabulary

text = "the cat sat on the mat: \u00e9t\u00e9"
backend = Tokenizer(models.BPE())
backend.train_from_iterator([text] * 9, trainers.BpeTrainer(special_tokens=["<end>"]))
specification = json.loads(backend.to_str())
assert type(family_of(specification)).__name__ == "PlainText"
vocabulary = read_vocabulary(specification)
content = ContentTokenizer(specification, vocabulary)
ids = content.encode(text, "a text")
assert b"".join(vocabulary.token_bytes[i] for i in ids) == text.encode()

renderer = Renderer(PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>"))
rendered = renderer.render(make_document("a", "text", [("text", text)]).segments, "a")
assert bytes(rendered.symbols_N[rendered.symbols_N < END].astype(np.uint8)) == text.encode()
