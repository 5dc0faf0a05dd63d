import re

import pandas as pd
import pytest

from bld.reporting.report_page import passages

COLUMNS = ["model", "series", "document", "character", "text", "bits"]


def surprise(*characters, model="m", document="d"):
    rows = [
        (model, "sft", document, place, text, bits) for place, (text, bits) in enumerate(characters)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def read(frame):
    return passages(frame)


def test_every_prompt_has_the_completions_of_all_models_side_by_side(whole):
    (section,) = [one for one in whole.all("section") if one.get("aria-labelledby") == "texts"]
    prompts = [whole.words(one) for one in section.iter("h3")]
    assert prompts == ["one", "two", "Surprise by character"]
    boxes = [one for one in section.iter("div") if one.get("class") == "texts"]
    for prompt, box in zip(prompts[:2], boxes, strict=False):
        texts = ["".join(one.itertext()).removeprefix("\n") for one in box.iter("pre")]
        models = ["large", "small", "sft-1", "bld-1", "none-1", "one-1"]
        assert texts == [f"{model} on {prompt}" for model in models]
        captions = [whole.words(one) for one in box.iter("figcaption")]
        assert captions[0].startswith("large teacher")
        assert all(one.endswith(", cut") == (prompt == "two") for one in captions)


def test_the_passage_of_every_model_is_the_text_itself(whole):
    texts = ["".join(one.itertext()) for one in whole.by_class("passage")]
    assert texts == ["na\u00efve \U0001f40d <b>\n"] * 6


def test_a_character_costs_what_its_bytes_cost_together(whole):
    rows = pd.read_csv(whole.folder / "surprise.csv", keep_default_na=False)
    rows = rows[rows["model"] == "large"].set_index("text")
    cost = [2.2 / 4 + place / 10 for place in range(16)]
    assert rows.at["n", "bits"] == pytest.approx(cost[0])
    assert rows.at["\u00ef", "bits"] == pytest.approx(cost[2] + cost[3])
    assert rows.at["\U0001f40d", "bits"] == pytest.approx(sum(cost[7:11]))
    assert rows.at["\n", "bits"] == pytest.approx(cost[15])
    assert rows["character"].tolist() == list(range(len(rows)))


def test_a_character_is_without_probability_if_one_of_its_bytes_is(build, factory):
    run = factory.run("sft-1")
    passage = {"id": "d", "kind": "k", "text": "a\u00e9b", "bits": [1.0, 2.0, None, 1.0]}
    factory.edit(run.files["run/text"], passage=passage)
    page = build(run)
    rows = pd.read_csv(page.folder / "surprise.csv")
    own = rows[rows["model"] == "sft-1"]
    assert own["bits"].isna().tolist() == [False, True, False]
    marked = page.by_class("passage")[-1].findall("i")
    assert [(one.text, one.get("title"), one.get("class")) for one in marked] == [
        ("a", "1.0 bits", "s1"),
        ("\u00e9", "no probability", "s8"),
        ("b", "1.0 bits", "s1"),
    ]
    assert "sft-1 SFT: \u2013 bits a byte" in page.words()


@pytest.mark.parametrize(
    "bits, level",
    [(0.0, 0), (0.99, 0), (1.0, 1), (1.99, 1), (7.5, 7), (8.0, 8), (30.0, 8)],
)
def test_colours_go_bit_by_bit_up_to_eight(bits, level):
    (passage,) = read(surprise(("x", bits)))
    assert passage.text == "x" if not level else f'class="s{level}"' in passage.text


def test_the_mean_is_over_bytes_and_not_over_characters():
    (passage,) = read(surprise(("a", 1.0), ("\U0001f40d", 9.0)))
    assert passage.mean == "2.00"


def test_a_passage_without_any_probability_is_shown_too():
    (passage,) = read(surprise(("a", None), ("b", None)))
    assert passage.mean == "\u2013"
    assert re.sub("<[^>]*>", "", passage.text) == "ab"


def test_models_and_documents_have_passages_of_their_own():
    frames = [
        surprise(("a", 1.0)),
        surprise(("b", 1.0), document="e"),
        surprise(("c", 1.0), model="n"),
    ]
    found = read(pd.concat(frames, ignore_index=True))
    assert [re.sub("<[^>]*>", "", one.text) for one in found] == ["a", "b", "c"]


def test_the_scale_names_every_level_of_the_passage(whole):
    (scale,) = whole.by_class("scale")
    levels = [(one.get("class"), one.text.strip()) for one in scale.iter("i")]
    assert levels == [*((f"s{level}", str(level)) for level in range(1, 8)), ("s8", "8+")]
