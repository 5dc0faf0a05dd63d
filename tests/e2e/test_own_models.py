"""A user's own folders of models and her own JSONL, put in by editing the configuration alone.

The teacher is a Qwen 2 with a Unigram tokenizer, the student a GPT-NeoX with byte-level BPE:
neither kind is used by the demo. The student learns as it is, with the teacher's tokenizer, and as
a byte student.
"""

import json

import pytest
import yaml
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from bld.tokenization.scratch import train_tokenizer

QUESTIONS = ["What is {}?", "Tell me about {}.", "Wozu dient {}?"]
ANSWERS = [
    "{0} is a naïve thing — \U0001f600.\r\n\tIt ends here.",
    "No idea  about {0}\n",
    "{0}: \u05e9\u05dc",
]


@pytest.fixture(scope="module")
def own(checkout):
    rows = [
        {
            "id": f"{number}",
            "messages": [
                {"role": "user", "content": QUESTIONS[number % 3].format(f"thing {number}")},
                {"role": "assistant", "content": ANSWERS[number % 3].format(f"Thing {number}")},
            ],
        }
        for number in range(60)
    ]
    data = checkout.folder / "my data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    texts = [message["content"] for row in rows for message in row["messages"]]

    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    shape |= {"intermediate_size": 64, "max_position_embeddings": 256}
    unigram = train_tokenizer(texts, "unigram", 400, "turns")
    qwen = Qwen2ForCausalLM(
        Qwen2Config(vocab_size=len(unigram) + 5, num_key_value_heads=2, **shape)
    )
    save(qwen, unigram, checkout.folder / "my teacher")
    bpe = train_tokenizer(texts, "byte_level_bpe", 350, "chatml")
    neox = GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=len(bpe), **shape))
    save(neox, bpe, checkout.folder / "my student")

    common = {"teacher": "qwen", "corpus": "mine"}
    (checkout.folder / "my.yaml").write_text(
        yaml.safe_dump(
            {
                "corpora": {
                    "mine": {
                        "source": {
                            "kind": "files",
                            "format": "jsonl",
                            "paths": ["my data.jsonl"],
                            "columns": {"messages": "messages", "id": "id"},
                        },
                        "splits": {
                            "train": {"fraction": 0.7, "shards": 2},
                            "validation": {"fraction": 0.3},
                        },
                    }
                },
                "models": {
                    "qwen": {"path": "my teacher"},
                    "neox": {"path": "my student", "template": "plain"},
                },
                "teachers": {"qwen": {"model": "qwen", "window": 64}},
                "students": {
                    "own": {"model": "neox"},
                    "new-tokenizer": {"model": "neox", "tokenizer": "qwen"},
                    "bytes": {"model": "neox", "tokenizer": "bytes"},
                },
                "training": {"steps": 3, "sequence_length": 128, "batch_size": 4}
                | {"micro_batch_size": 2, "learning_rate": "1e-3"},
                "head_warmup": {"steps": 2},
                "runs": {
                    "own-sft": {"method": "sft", "student": "own", **common},
                    "own-bld": {"method": "bld", "student": "own", **common},
                    "subword": {"method": "bld", "student": "new-tokenizer", **common},
                    "bytes": {"method": "bld", "student": "bytes", "bld": {"head": "output"}}
                    | common,
                },
                "evaluation": {"divergence_documents": 4},
            }
        )
    )
    checkout.snakemake("--configfile", "my.yaml")
    return checkout.folder


def save(lm, tokenizer, folder):
    lm.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def test_every_run_is_trained_and_judged(own):
    summary = json.loads((own / "results/report/summary.json").read_text())
    assert [run["run"] for run in summary["runs"]] == ["own-sft", "bytes", "own-bld", "subword"]
    assert all(run["bits_per_byte"] > 0 and run["byte_jsd"] > 0 for run in summary["runs"])


@pytest.mark.parametrize("run", ["own-bld", "subword", "bytes"])
def test_students_keep_their_kind_and_come_out_with_the_tokenizer_they_were_given(own, run):
    folder = own / "results/runs" / run / "model"
    lm, tokenizer = (
        AutoModelForCausalLM.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
    )
    assert isinstance(lm, GPTNeoXForCausalLM)
    given = own / ("my teacher" if run == "subword" else "my student")
    if run == "bytes":
        assert tokenizer("é", add_special_tokens=False).input_ids == [0xC3, 0xA9]
    else:
        assert tokenizer.get_vocab() == AutoTokenizer.from_pretrained(given).get_vocab()
    assert lm.get_output_embeddings().weight.shape[0] >= len(tokenizer)


def test_the_cache_has_a_distribution_for_every_answer_byte_and_every_end(own):
    corpus = json.loads((own / "results/corpora/mine/train/manifest.json").read_text())
    cache = json.loads((own / "results/teachers/qwen/mine/train/manifest.json").read_text())
    assert cache["symbols"] == corpus["supervised_bytes"] + corpus["documents"]
    assert cache["content_sha256"] == corpus["content_sha256"]
