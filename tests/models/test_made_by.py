"""Columns of another model, or of an older version of an op, are refused by name before anything runs."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from conftest import HERE, picture

from curate.annotate.step import annotate
from curate.catalog import find, load
from curate.errors import CurateError
from curate.pipeline.file import load_pipeline

pytestmark = pytest.mark.slow

CLIP = {"op": "score.clip", "options": {"model": "ViT-B-32/openai", "name": "clip_b32"}}
CLIP |= {"version": find("score.clip").version, "weights": "ViT-B-32/openai"}
SCORE = {**CLIP, "op": "score.clipscore", "options": {"model": "ViT-B-32/openai"}}
OTHER = {"model": "ViT-L-14/openai"}


@pytest.mark.parametrize(
    ("op", "made_by", "message"),
    [
        ({"score.ref_clipscore": {"references": "refs"}}, {"clipscore": SCORE, "refs": {}}, ""),
        ({"score.ref_clipscore": {"references": "refs"}}, {"clipscore": {}, "refs": {}}, ""),
        (
            {"score.ref_clipscore": {"references": "refs", **OTHER}},
            {"clipscore": SCORE},
            "score.ref_clipscore: column 'clipscore' was made by score.clipscore with model ViT-B-32/openai, this op "
            "has ViT-L-14/openai: numbers of two models do not go together; run score.clipscore: {model: ViT-L-14/"
            "openai} first, or give this op `model: ViT-B-32/openai`",
        ),
        (
            {"score.ref_clipscore": {"references": "refs"}},
            {"clipscore": {**SCORE, "weights": "x@1"}},
            "with other weights of ViT-B-32/openai (x@1)",
        ),
        ("score.clipscore", {"clip_b32_img": CLIP}, ""),
        (
            "score.clipscore",
            {"clip_b32_img": {**CLIP, "version": 1}},
            "score.clipscore: column 'clip_b32_img' was made by version 1 of score.clip, and version 2 makes other "
            "values: run score.clip: {model: ViT-B-32/openai} again first",
        ),
        ({"score.clip_no_digits": OTHER}, {"clip_l14_img": CLIP}, "with model ViT-B-32/openai, this op has ViT-L-14"),
        ({"score.clip_masked": OTHER}, {"clip_l14_txt": CLIP, "text_polygons": {"op": "score.ocr"}}, "with model"),
        ({"balance.clusters": {"by": "clip_b32_img"}}, {"clip_b32_img": CLIP, "uid": {}}, ""),
        ({"balance.clusters": {"by": "clip_b32_img"}}, {"clip_b32_img": {**CLIP, "version": 1}}, "by version 1 of"),
        ({"dedupe.semantic": {"by": "v"}}, {"v": {**CLIP, "version": 1}, "v_cluster": {}}, "by version 1 of"),
        ({"score.hub": {"bank": "b.npy"}}, {"clip_l14_img": {**CLIP, "version": 1}}, "by version 1 of score.clip"),
        ({"score.q16": {"file": "b.npy"}}, {"clip_l14_img": {**CLIP, "version": 1}}, "by version 1 of score.clip"),
        ({"score.nsfw": {"file": "b.npy"}}, {"clip_l14_img": {**CLIP, "version": 1}}, "by version 1 of score.clip"),
        (
            {"score.aesthetic": {"file": "b.npy"}},
            {"clip_l14_img": {**CLIP, "version": 1}},
            "by version 1 of score.clip",
        ),
        ({"score.aesthetic": {"file": "b.npy"}}, {"clip_l14_img": {"op": "mine:Own", "version": 0}}, ""),
    ],
)
def test_what_made_a_column(op, made_by, message):
    made_by = {name: {"version": 9, **spec} if spec else spec for name, spec in made_by.items()}
    if not message:
        load(op).check_reads(made_by)
        return
    with pytest.raises(CurateError) as caught:
        load(op).check_reads(made_by)
    assert message in str(caught.value)


def test_a_clipscore_of_another_model_is_refused_in_a_store(make_store):
    first, second = "ViT-S-32-alt/random", "ViT-S-32/random"
    rows = [{"text": "red", "refs": "a red field"}, {"text": "blue", "refs": "a sea"}]
    view = make_store(rows, images=[picture(1), picture(2)])
    ops = [{"score.clip": {"model": first}}, {"score.clipscore": {"model": first}}]
    view = annotate(view, [load(op) for op in ops], HERE)
    with pytest.raises(CurateError, match=f"with model {first}, this op has {second}"):
        annotate(view, [load({"score.ref_clipscore": {"references": "refs", "model": second}})], HERE)
    annotate(view, [load({"score.ref_clipscore": {"references": "refs", "model": first}})], HERE)
    assert np.isfinite(view.store["ref_clipscore"].collect()["ref_clipscore"].to_numpy()).all()


def test_it_is_found_before_anything_runs(tmp_path):
    pl.DataFrame({"url": ["http://a.example/1.jpg"], "text": ["a"], "refs": ["b"]}).write_parquet(
        tmp_path / "in.parquet"
    )
    first, second = "ViT-S-32-alt/random", "ViT-S-32/random"
    ops = [{"score.clip": {"model": first}}, {"score.clipscore": {"model": first}}]
    for model, words in ((second, f"score.clipscore with model {first}, this op has {second}"), (first, "")):
        steps = [{"read": {"input": str(tmp_path / "in.parquet")}}, {"download": {}}, {"annotate": ops}]
        steps.append({"annotate": [{"score.ref_clipscore": {"references": "refs", "model": model}}]})
        (tmp_path / "job.yaml").write_text(json.dumps({"set": {"root": None}, "steps": steps}))
        if not words:
            load_pipeline(tmp_path / "job.yaml", {"root": str(tmp_path / "store")})
            continue
        with pytest.raises(CurateError, match=rf"annotate \(ref_clipscore\): .* was made by {words}"):
            load_pipeline(tmp_path / "job.yaml", {"root": str(tmp_path / "store")})
    assert not (tmp_path / "store").exists()


def test_a_store_that_a_pipeline_goes_on_with(make_store, tmp_path):
    view = make_store([{"text": "red", "refs": "a"}], images=[picture(1)])
    model = "ViT-S-32-alt/random"
    annotate(view, [load({"score.clip": {"model": model}}), load({"score.clipscore": {"model": model}})], HERE)
    step = {"annotate": [{"score.ref_clipscore": {"references": "refs", "model": "ViT-S-32/random"}}]}
    (tmp_path / "job.yaml").write_text(json.dumps({"set": {"root": None}, "steps": [step]}))
    with pytest.raises(CurateError, match=r"was made by score\.clipscore with model ViT-S-32-alt/random"):
        load_pipeline(tmp_path / "job.yaml", {"root": view.store.url})
