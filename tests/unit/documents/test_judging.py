"""The stage that makes a split, with models that judge its documents."""

import json
from pathlib import Path

import pytest

from bld.config.registry import Corpus
from bld.config.settings import Rendering
from bld.documents.shards import read_split
from bld.files import write_json
from bld.pipeline.step import files_line, step_line
from bld.pipeline.step_settings import BuildSplit
from bld.stages import build_split
from bld.tokenization.scratch import train_tokenizer

TEMPLATE = (
    "{% for m in messages %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
)
ROWS = 40
GREETED = {3, 17}


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """A model's folder, of which the tokenizer alone is needed, whose template wants turns to
    alternate."""
    folder = tmp_path_factory.mktemp("models") / "strict"
    tokenizer = train_tokenizer(["How many legs have spiders?"], "byte_level_bpe", 300, "chatml")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    files = {path.name: {"bytes": path.stat().st_size} for path in folder.iterdir()}
    write_json(folder / "manifest.json", {"files": files})
    return folder


@pytest.fixture
def stage(monkeypatch, tmp_path, judge):
    """Runs the stage on 40 conversations, two of which the assistant begins; its manifest."""
    monkeypatch.chdir(tmp_path)
    turns = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    greeting = {"role": "assistant", "content": "Ask."}
    rows = [
        {"messages": [greeting, *turns] if number in GREETED else turns, "n": number}
        for number in range(ROWS)
    ]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(judged=True, **corpus):
        source = {"kind": "files", "paths": ["rows.jsonl"], "columns": {"group": "n"}}
        settings = BuildSplit(
            corpus=Corpus.model_validate(
                {"source": source, "splits": {"all": {"fraction": 1}}, **corpus}
            ),
            order=["all"],
            **({"judge": "judging", "renderings": {"strict": Rendering()}} if judged else {}),
        )
        step = step_line("bld.stages.build_split", settings.dump())
        inputs = {"judges": [judge / "manifest.json"]} if judged else {}
        outputs = {"manifest": "out/manifest.json", "record": "out/manifest.record.json"}
        monkeypatch.setattr(
            "sys.argv", ["build_split", "--step", step, "--files", files_line(inputs, outputs)]
        )
        build_split.main()
        return json.loads(Path("out/manifest.json").read_text())

    return run


def test_what_a_judge_refuses_stops_the_corpus_with_its_row(stage):
    with pytest.raises(SystemExit, match=r"rows\.jsonl:4: strict .*must alternate.*on_bad_row"):
        stage()
    assert not Path("out/manifest.json").exists()


def test_or_is_left_out_and_counted(stage, capsys):
    rows = stage(on_bad_row="skip")["rows"]
    assert (rows["rows"], rows["skipped"]) == (ROWS, len(GREETED))
    assert rows["reasons"] == {
        "what strict cannot be given": {"rows": 2, "first": ["rows.jsonl:4", "rows.jsonl:18"]}
    }
    kept = [f"rows.jsonl:{number + 1}" for number in range(ROWS) if number not in GREETED]
    assert [document.id for document in read_split(Path("out"))] == kept
    assert "2 rows were left out: 2 for what strict cannot be given" in capsys.readouterr().out


def test_more_than_may_be_stop(stage):
    with pytest.raises(SystemExit, match=r"2 of 40 rows are no documents, more than .* 0\.04"):
        stage(on_bad_row="skip", at_most=0.04)


def test_without_judges_all_are_kept_and_no_code_of_theirs_is_run(stage):
    assert stage(judged=False)["documents"] == ROWS
    plain, judged = (
        step_line("bld.stages.build_split", {"judge": judge}) for judge in ("", "judging")
    )
    assert json.loads(plain)["code"] != json.loads(judged)["code"]
