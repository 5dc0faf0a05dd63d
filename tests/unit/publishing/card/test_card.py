"""Model cards: read back by the hub's own tools, and by a reader who looks for a fact."""

import hashlib
import html
import inspect
import re
from dataclasses import replace

import pytest
from huggingface_hub import ModelCard, ModelCardData, metadata_load
from huggingface_hub.repocard_data import model_index_to_eval_results
from markdown_it import MarkdownIt
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from bld.config.methods.alm import AlmSettings
from bld.config.settings import BldSettings, Sampling, Student, Teacher
from bld.files import MANIFEST
from bld.folders import new_folder, whole_folder
from bld.pipeline.step import files_line, line_of
from bld.publishing.card.card import make_card, write_card
from bld.publishing.card.parts import Licence, card_licence
from bld.stages.write_card import main as stage
from bld.tokenization.scratch import train_tokenizer

COMMIT, OTHER_COMMIT = "0123456789abcdef0123456789abcdef01234567", "76" * 20


def tables(text):
    """The cells of every table row, split where GitHub's Markdown splits them."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def row_of(card, first):
    [row] = [row for row in tables(card.text) if row[0] == first]
    return row


def headings(text):
    return [line for line in text.splitlines() if line.startswith("#")]


def test_the_tools_of_the_hub_read_the_card_and_write_the_same_metadata(made):
    card = made.card()
    path = made.folder / "results/runs/mine/model/README.md"
    metadata = metadata_load(path)
    assert ModelCardData(**metadata).to_dict() == metadata == card.data.to_dict()
    assert str(card) == path.read_text(encoding="utf-8")
    assert (metadata["library_name"], metadata["pipeline_tag"]) == (
        "transformers",
        "text-generation",
    )


def test_the_model_index_holds_what_was_measured_with_all_digits(made):
    metadata = made.card().data.to_dict()
    name, results = model_index_to_eval_results(metadata["model-index"])
    assert name == "mine"
    assert [(one.dataset_name, one.metric_type, one.metric_value) for one in results] == [
        ("docs, held-out documents", "bits_per_byte", 2.499999),
        ("docs, held-out documents", "byte_jsd", 0.0812345),
        ("next_line", "acc", 0.3),
        ("harness", "bits_per_byte", 2.75),
    ]
    assert results[0].metric_name == "Bits per byte (95 % interval 2.401 to 2.612)"
    assert results[2].metric_name == "acc (standard error 0.060)"


def test_figures_are_written_as_the_report_writes_them(made):
    card = made.card()
    assert row_of(card, "Teacher") == ["Teacher", "2.202", "2.110 to 2.296", "\u2013"]
    assert row_of(card, "Student before training")[1:] == ["4.628", "4.478 to 4.773", "0.2131"]
    assert row_of(card, "This model")[1:] == ["2.500", "2.401 to 2.612", "0.0812"]
    assert row_of(card, "next_line")[1:] == [
        *("acc", "60", "0.500 \u00b1 0.065", "\u2013", "0.300 \u00b1 0.060")
    ]
    assert row_of(card, "harness")[1] == "bits_per_byte, lower is better"


def test_differences_from_sft_are_those_of_the_run_itself_and_no_winner_is_named_without_one(made):
    card = made.card()
    assert row_of(card, "bits per byte")[1:4] == [
        "\u22120.131",
        "\u22120.150 to \u22120.110",
        "better",
    ]
    assert row_of(card, "JSD to the teacher")[3] == "no difference shown"
    assert "mine_too" not in card.text


def test_what_a_training_took_is_told(made):
    card = made.card()
    assert row_of(card, "Steps")[1] == "300"
    assert row_of(card, "Tokens learned from")[1] == "1\u2009961\u2009817"
    assert row_of(card, "Time")[1].startswith("1\u2009234 seconds, 2.74 GPU-hours")
    assert row_of(card, "Machine")[1] == "8 \u00d7 NVIDIA H100; 8 processes"
    assert row_of(card, "Software")[1] == "Python 3.11.7, transformers 5.23.0, torch 2.13.0"


def test_parameters_are_those_of_the_weights_and_not_what_was_trained_beside_them(made):
    assert made.training["parameters"] > 1190 * 2000 + 416
    assert "A causal language model of 2\u2009380\u2009416 parameters" in made.card().text


def test_a_machine_without_gpus_is_told_by_its_processor(made):
    made.record["hardware"] |= {"gpus": []}
    made.training["world_size"] = 1
    assert row_of(made.card(), "Machine")[1] == "16 cores of A_CPU, no GPU; 1 process"


def test_the_method_is_told_with_its_settings(made):
    text = made.card().text
    assert "after **byte-level distillation** (BLD, [arXiv 2604.07466]" in text
    assert "0 \u00d7 cross-entropy of bytes + 4 \u00d7 KL(teacher \u2016 student)" in text
    card = ModelCard(text)
    assert row_of(card, "Byte interface")[1].startswith("no head: its own token distributions")
    assert "without fractions up to 0.001" in row_of(card, "Teacher's bytes")[1]


def test_a_trained_byte_head_is_told_and_said_not_to_be_there(made):
    made.run = made.run.model_copy(update={"bld": BldSettings(head="linear")})
    made.training["head_parameters"] = 668200
    card = made.card()
    assert "668\u2009200 further parameters served training alone and is not in it" in card.text
    assert row_of(card, "Warm-up of the head")[1].startswith("at most 200 steps")


def test_models_made_here_are_said_to_be_and_to_be_of_little_use(made):
    card = made.card()
    assert "made from scratch by this workflow: Llama-style, 2 layers of width 64" in card.text
    assert "expect nothing of use" in card.text
    assert "base_model" not in card.data.to_dict()


def test_models_and_data_of_the_hub_are_named_with_their_revisions(made):
    made.fetched("models", "base", {"license": "mit"}, hub="org/base", revision=COMMIT)
    made.fetched("models", "strong", {"license": "mit"}, hub="org/strong", revision=OTHER_COMMIT)
    made.fetched("datasets", "mixture", {"license": "mit"}, hub="org/mix", revision="5" * 40)
    made.split("train", 200, kind="dataset", dataset="mixture", columns={"text": "text"})
    card = made.card()
    metadata = card.data.to_dict()
    assert (metadata["base_model"], metadata["datasets"]) == ("org/base", ["org/mix"])
    assert metadata["base_model_relation"] == "finetune"
    held_out = model_index_to_eval_results(metadata["model-index"])[1][0]
    assert (held_out.dataset_type, held_out.dataset_revision) == ("org/mix", "5" * 40)
    for hub, revision in (("base", COMMIT), ("strong", OTHER_COMMIT), ("mix", "5" * 40)):
        assert f"org/{hub} at revision `{revision}`" in card.text
    assert metadata["license"] == "mit"
    assert "expect nothing of use" not in card.text
    assert "had read the held-out documents before is not known" in card.text


def test_a_student_with_bytes_for_tokens_or_with_its_own_tokenizer_is_said_to_be_one(made):
    made.student = Student(model="base", tokenizer="bytes")
    assert "the base model `base` with bytes for tokens" in made.card().text
    made.student = Student(model="base")
    assert "The tokenizer is the base model's own." in made.card().text


@pytest.mark.parametrize(
    ("names", "field"),
    [
        ([("apache-2.0",), ("apache-2.0",)], {"license": "apache-2.0"}),
        ([("Apache-2.0",)], {"license": "apache-2.0"}),
        ([("llama3.2",), ("odc-by",)], {"license": "other", "license_name": "llama3.2-and-odc-by"}),
        ([("mit", "cc-by-4.0")], {"license": "other", "license_name": "mit-and-cc-by-4.0"}),
        ([("mit",), ()], {"license": "other", "license_name": "mit-and-unknown"}),
        ([("My Own | Licence!",)], {"license": "other", "license_name": "my-own-licence"}),
        ([("<>",)], {"license": "other", "license_name": "unknown"}),
        ([()], {"license": "other", "license_name": "unknown"}),
        ([], {"license": "other", "license_name": "unknown"}),
    ],
)
def test_a_licence_goes_into_the_metadata_only_where_all_parts_share_it_and_the_hub_knows_it(
    names, field
):
    assert card_licence([Licence(one) for one in names]) == field


def test_a_licence_of_another_name_is_linked_where_there_is_only_that_one(made):
    link = "https://example.org/terms"
    own = {"license": "other", "license_name": "Own-Terms", "license_link": link}
    made.fetched(
        "models", "base", own | {"files": ["LICENSE.txt"]}, hub="org/base", revision=COMMIT
    )
    made.fetched("models", "strong", own, hub="org/strong", revision=COMMIT)
    made.fetched("datasets", "mixture", own, hub="org/mix", revision=COMMIT)
    made.split("train", 200, kind="dataset", dataset="mixture", columns={"text": "text"})
    card = made.card()
    metadata = card.data.to_dict()
    assert [metadata[key] for key in ("license", "license_name", "license_link")] == [
        *("other", "own-terms", link)
    ]
    assert f"Base model `base`: Own-Terms, {link} (text: LICENSE.txt)" in card.text


def test_every_licence_is_listed_and_what_is_not_stated_is_said(made):
    made.fetched("models", "base", {"license": "llama3.2"}, hub="org/base", revision=COMMIT)
    made.fetched("models", "strong", {}, hub="org/strong", revision=COMMIT)
    card = made.card()
    licence = card.text.split("## Licence")[1].split("## ")[0]
    assert re.findall(r"^\* (.*)$", licence, re.MULTILINE) == [
        "Base model `base`: llama3.2",
        "Tokenizer `other`: made here, without terms of its own",
        "Teacher `strong`: not stated",
        "Documents `docs`: psf-2.0, https://docs.python.org/3/license.html",
    ]
    assert card.data.license_name == "llama3.2-and-unknown-and-psf-2.0"


def test_plain_fine_tuning_has_no_teacher_even_where_the_distance_to_one_was_measured(made):
    made.run = made.run.model_copy(update={"method": "sft"})
    made.teacher = None
    del made.scratch["strong"]
    made.tables["comparison"] = made.tables["comparison"][:3]
    card = made.card()
    assert "plain fine-tuning (SFT) on text alone, without a teacher" in card.text
    assert "what other runs are held against" in card.text
    assert "Loss: cross-entropy of tokens." in card.text
    assert "* **Teacher**" not in card.text
    assert row_of(card, "Teacher")[1] == "2.202"


def test_a_run_without_any_teacher_has_no_column_for_the_distance_to_it(made):
    made.run = made.run.model_copy(update={"method": "sft", "teacher": None})
    made.teacher = made.summary["teacher"] = None
    made.tables["models"] = [row for row in made.tables["models"] if not row.startswith("big")]
    card = made.card()
    assert row_of(card, "This model") == ["This model", "2.500", "2.401 to 2.612"]
    assert "95 % interval | JSD" not in card.text


def test_what_was_not_measured_is_said_not_to_be(made):
    made.tables["models"] = [made.tables["models"][0], "mine|bld marginal|0|docs||||"]
    made.tables["benchmarks"], made.tables["comparison"] = (
        made.tables[name][:1] for name in ("benchmarks", "comparison")
    )
    made.summary["tasks"] = {}
    card = made.card()
    assert "Its bits per byte were not measured." in card.text
    assert "It was evaluated on nothing alone" not in card.text
    assert "It was not evaluated at all" in card.text
    assert "It was not held against plain fine-tuning" in card.text
    assert row_of(card, "This model")[1:] == ["\u2013"] * 3
    assert "model-index" not in card.data.to_dict()


def test_one_group_of_documents_leaves_the_interval_unknown(made):
    made.tables["models"] = [made.tables["models"][0], "mine|bld marginal|0|docs|2.5|||0.1"]
    assert row_of(made.card(), "This model")[2] == "unknown from so few groups"


def test_the_crate_is_named_with_its_whole_digest(made):
    card = made.card()
    assert f"\n{hashlib.sha256(b'a crate').hexdigest()}\n" in card.text
    assert "python -m bld.stages.reproduce demo.crate.zip FOLDER\n" in card.text


def test_without_an_archive_the_card_says_that_nobody_can_check_it(made):
    made.crate = None
    text = made.card().text
    assert "This run is not archived" in text
    assert "bld.stages" not in text


def test_hostile_words_bring_neither_markup_nor_rows_nor_headings(made):
    quiet = made.card().text
    hostile = "a|b *c* _d_ [e](f) <script>g</script> `h` &amp; $i$ ~j~\n\n# k\n---\n"
    made.fetched(
        "models", "base", {"license": hostile, "files": [hostile]}, hub=hostile, revision=COMMIT
    )
    made.record["hardware"] |= {"gpus": [hostile]}
    made.tables["benchmarks"].append(
        f"mine|bld marginal|0|odd|{hostile.replace('|', '/')}|0.3|0.1|True|60|"
    )
    card = made.card()
    assert headings(card.text) == headings(quiet)
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(card.text)
    shown = " ".join(hostile.split())
    text = html.unescape(re.sub(r"<[^>]+>", "", page))
    # Hub name, licence and its file, twice the last two, and the machine.
    assert text.count(shown) == 6
    assert shown.replace("|", "/") in text
    assert "<script>" not in page and "<em>" not in page and 'href="f"' not in page
    assert row_of(card, "Machine")[1].endswith("; 8 processes")


def test_a_name_with_signs_of_markup_stands_as_it_is(made):
    made.run = made.run.model_copy(update={"student": "_small_"})
    made.crate = made.crate.rename(made.folder / "_a_.crate.zip")
    text = made.card().text
    assert "the student `_small_`" in text
    assert "\nsha256sum _a_.crate.zip\n" in text


def test_where_files_lie_on_somebodys_disk_is_not_told(made):
    home = "/home/somebody/private"
    made.fetched("models", "base", {"license": "mit"}, path=f"{home}/base")
    made.fetched("datasets", "mixture", path=f"{home}/data")
    made.split("train", 200, kind="files", paths=[f"{home}/x.jsonl"], format="jsonl")
    text = str(made.card())
    assert "somebody" not in text and "/home" not in text and str(made.folder) not in text
    assert (
        f"a model folder on disk; SHA-256 of its largest file, model.safetensors: {'d' * 64}"
        in text
    )
    assert "files of whoever made this model (jsonl)" in text


def test_a_report_that_does_not_tell_of_the_run_is_refused_and_the_old_card_stays(made):
    path = made.folder / "results/runs/mine/model/README.md"
    made.card()
    before = path.read_text()
    made.summary["run"] = "another"
    with pytest.raises(
        ValueError, match=r"summary\.json: expected the run 'mine' and found another"
    ):
        made.card()
    assert path.read_text() == before
    assert sorted(one.name for one in path.parent.iterdir()) == [
        *("README.md", "manifest.json", "manifest.record.json", "model.safetensors")
    ]


def test_the_same_inputs_give_the_same_card(made):
    assert str(make_card(made.inputs())) == str(make_card(made.inputs()))


def test_a_student_with_a_card_loads_alone_and_its_manifest_does_not_change(made, tmp_path):
    folder = tmp_path / "student"
    with new_folder(folder, {}) as partial:
        shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
        heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 300}
        LlamaForCausalLM(LlamaConfig(**shape, **heads)).save_pretrained(partial)
        train_tokenizer([], "bytes", 300, "chatml").save_pretrained(partial)
    manifest = (folder / MANIFEST).read_bytes()
    write_card(made.inputs(), folder / "README.md")
    assert (folder / MANIFEST).read_bytes() == manifest and b"README" not in manifest
    assert whole_folder(folder / MANIFEST) == folder
    assert AutoModelForCausalLM.from_pretrained(folder).config.hidden_size == 8
    assert AutoTokenizer.from_pretrained(folder)("a").input_ids


def test_the_stage_writes_the_card_with_and_without_a_crate(made, monkeypatch):
    inputs = made.inputs()
    card = made.folder / "card.md"
    line = line_of("0", inputs.settings.dump())
    for crate in ([made.crate], []):
        read = {
            "model": inputs.model,
            "training": inputs.training,
            "training_record": inputs.record,
            "summary": inputs.report / "summary.json",
            "tables": sorted(inputs.report.glob("*.csv")),
            "crate": crate,
            "made_from": inputs.manifests,
        }
        files = files_line(read, {"card": card})
        monkeypatch.setattr("sys.argv", ["write_card.py", "--step", line, "--files", files])
        stage()
        expected = make_card(replace(inputs, crate=crate[0] if crate else None))
        assert card.read_text(encoding="utf-8") == str(expected)


def test_of_a_teacher_that_is_an_average_every_model_is_told(made):
    made.fetched("models", "third", hub="a/third", revision="0" * 40)
    models = {"third": 1, "strong": 2}
    made.teacher = Teacher(average={"models": models, "mean": "arithmetic"})
    card = made.card()
    told = re.findall(r"^\* \*\*Teacher\*\* `(\w+)`", card.text, re.MULTILINE)
    assert told == ["strong", "third"]
    assert row_of(card, "Teacher's bytes")[1].startswith("the arithmetic mean of those of its mod")
    assert "used for this model, the base model, the tokenizer and the teacher" in card.text


def test_another_method_is_told_by_its_own_words_and_settings(made):
    alm = AlmSettings(token_weight=0.5)
    made.run = made.run.model_copy(update={"method": "alm", "alm": alm})
    made.teacher = made.teacher.model_copy(update={"top_k_tokens": 64})
    card = made.card()
    assert "**distillation across tokenizers** (Approximate likelihood matching, arX" in card.text
    citation = card.text.partition("## Citation")[2]
    assert "The method: Approximate likelihood matching, arXiv 2503.20083. " in citation
    assert "what the teacher `big` says at its own tokens" in card.text
    assert "byte-level distillation" not in card.text.split("## ")[0].lower()
    assert f"Loss: {' '.join(inspect.getdoc(AlmSettings).split())}" in card.text
    assert row_of(card, "Settings of the method")[1].startswith("token weight 0.5, ")
    assert row_of(card, "Teacher's tokens")[1].startswith("the 64 most probable")
    assert "Byte interface" not in card.text and "over bytes" not in card.text
    assert card.data.tags == ["distillation", "arxiv:2503.20083"]


def test_text_of_the_students_own_is_told(made):
    made.run = made.run.model_copy(update={"sampling": Sampling(on_policy=0.25)})
    assert row_of(made.card(), "Written by the student itself")[1].startswith("25 % of the docum")
