"""What ops that judge decide: the step's name, the condition of a row that stays, and why the others go."""

import pytest

from curate.catalog import load

EVALUATION = {"by": "phash", "against": "hashes.npy", "radius": 4}


@pytest.mark.parametrize(
    ("spec", "step", "rules"),
    [
        ({"dedupe.exact": {"by": "url"}}, "duplicates", [("dup_url_of IS NULL", "the same url")]),
        (
            {"dedupe.exact": {"by": "url_text"}},
            "duplicates",
            [("dup_url_text_of IS NULL", "the same url and caption")],
        ),
        ({"dedupe.exact": {"by": "sha256"}}, "duplicates", [("dup_sha256_of IS NULL", "the same image file")]),
        (
            {"dedupe.exact": {"by": ["pixel_hash", "text"], "name": "twin"}},
            "duplicates",
            [("twin_of IS NULL", "the same pixels and caption")],
        ),
        (
            {"dedupe.exact": {"by": "url", "name": "my-twins"}},
            "duplicates",
            [('"my-twins_of" IS NULL', "the same url")],
        ),
        (
            {"dedupe.minhash": {}},
            "near_captions",
            [("near_text_of IS NULL", "nearly the same caption as another row")],
        ),
        (
            {"dedupe.minhash": {"by": "alt"}},
            "near_captions",
            [("near_alt_of IS NULL", "nearly the same alt as another row")],
        ),
        (
            {"dedupe.perceptual": {"by": "pdq"}},
            "near_duplicates",
            [("near_pdq_of IS NULL", "looks the same as another image")],
        ),
        (
            {"dedupe.semantic": {"by": "clip_img"}},
            "semantic_duplicates",
            [("semantic_clip_img_of IS NULL", "means nearly the same as another row (clip_img)")],
        ),
        (
            {"dedupe.semantic": {"by": "clip_img", "rule": "linked", "spread": "near_eval"}},
            "semantic_duplicates",
            [
                ("semantic_clip_img_near_eval IS NOT TRUE", "in a group with near_eval"),
                ("semantic_clip_img_of IS NULL", "means nearly the same as another row (clip_img)"),
            ],
        ),
        ({"dedupe.decontaminate": EVALUATION}, "", [("near_eval IS NOT TRUE", "near an image of the evaluation set")]),
        (
            {"dedupe.decontaminate": EVALUATION | {"name": "coco"}},
            "",
            [("coco_near_eval IS NOT TRUE", "near an image of the evaluation set")],
        ),
        (
            {"dedupe.shared": {"most": 10}},
            "",
            [("text_images <= 10 OR text_images IS NULL", "caption with more than 10 images")],
        ),
        (
            {"dedupe.shared": {"by": "sha256", "distinct": "text", "most": 1000}},
            "",
            [("image_texts <= 1000 OR image_texts IS NULL", "image with more than 1000 captions")],
        ),
        ({"balance.metaclip": {"t": 40}}, "balance", [("metaclip_keep", "thinned by balancing")]),
        ({"balance.one_text": {"by": "url"}}, "one_text", [("one_text_keep", "not drawn by MetaCLIP 2")]),
    ],
)
def test_what_an_op_decides(spec, step, rules):
    decision = load(spec).decision()
    assert decision.get("name", "") == step
    assert [(rule["if"], rule["else"]) for rule in decision["keep"]] == rules


@pytest.mark.parametrize("spec", [{"balance.clusters": {"by": "clip_img"}}, "dedupe.shared", "score.words"])
def test_ops_that_decide_nothing(spec):
    assert load(spec).decision() == {}


def test_a_limit_of_the_decision_makes_no_other_table():
    assert load({"dedupe.shared": {"most": 3}}).spec() == load("dedupe.shared").spec()


def test_one_text_says_for_each_row_why_it_goes():
    assert load("balance.one_text").decision()["reason"] == "one_text_why"


@pytest.mark.parametrize(
    ("spec", "columns"),
    [
        ("balance.one_text", ("metaclip_keep",)),
        ({"dedupe.semantic": {"by": "clip_img", "rule": "linked", "spread": "near_eval"}}, ("near_eval",)),
        ({"dedupe.semantic": {"by": "clip_img"}}, ()),
        ("balance.metaclip", ()),
    ],
)
def test_whose_decision_an_op_takes_the_place_of(spec, columns):
    assert load(spec).replaces() == columns
