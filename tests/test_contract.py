"""What every op and every pipeline that ships must hold to; new ones are found by their file."""

from __future__ import annotations

import ast
import importlib
import json
import pickle
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from model_hub import Hub
from small_wordnet import small_wordnet

from curate.catalog import about, find, library, load, names
from curate.errors import CurateError
from curate.filter.rule import load_filter, read_yaml
from curate.filter.step import check_columns
from curate.op import Fitted, Grouped, Op, Score

#: An evaluation set of three hashes.
EVALUATION = Path(tempfile.mkdtemp()) / "evaluation.npy"
np.save(EVALUATION, np.array([1, 2, 3], np.uint64))

#: A list of one concept.
CONCEPTS = EVALUATION.with_name("concepts.tsv")
CONCEPTS.write_text("panda\tpanda|giant panda\n")

#: A WordNet of a few words.
WORDNET = small_wordnet(EVALUATION.with_name("wordnet"))

#: A published weight file, for ops that name one; it is not loaded here.
HEAD = {"file": "https://example.org/head.pth", "sha256": "0" * 64}

#: A table from outside.
SCORES = EVALUATION.with_name("scores.parquet")
pl.DataFrame({"uid": ["0" * 32], "their_score": [0.5]}).write_parquet(SCORES)

#: A list of people.
PEOPLE = EVALUATION.with_name("people.txt")
PEOPLE.write_text("Ivan Petrov\n")

#: Options that an op cannot do without.
REQUIRED = {
    "score.ref_clipscore": {"references": "refs"},
    "dedupe.exact": {"by": "url"},
    "dedupe.shared": {"by": "text", "distinct": "sha256", "most": 10},
    "dedupe.semantic": {"by": "lite_img"},
    "dedupe.decontaminate": {"by": "phash", "against": str(EVALUATION)},
    "balance.clusters": {"by": "lite_img"},
    "score.aesthetic": HEAD,
    "score.nsfw": HEAD,
    "score.q16": HEAD,
    "score.watermark": HEAD,
    "score.formula": {"expr": "words - characters"},
    "balance.standardise": {"columns": ["words"]},
    "score.named_face": {"names": str(PEOPLE)},
    "score.concepts": {"file": str(CONCEPTS)},
    "balance.concepts": {"best": "match"},
    "score.synsets": {"wordnet": WORDNET},
    "balance.m4": {"attributes": {"has_noun": 0.5}},
    "balance.quota": {"shares": "sqrt", "rows": 10},
    "score.hub": {"bank": str(EVALUATION)},
    "score.join": {"table": str(SCORES)},
    "balance.cluster_cap": {"by": "lite_img_cluster", "cap": 20},
    "balance.hierarchical": {"by": ["coarse", "fine"], "rows": 100},
    "balance.soft_cap": {"by": "m_flyt", "rows": 100},
    "score.hype": {"curvature": 1.0, "images": str(EVALUATION), "captions": str(EVALUATION)},
    "score.near_centroids": {"centroids": str(EVALUATION)},
    "score.normsim": {"targets": str(EVALUATION)},
}


def example(name: str) -> Op:
    try:
        return load({name: REQUIRED.get(name, {})})
    except CurateError as error:
        pytest.fail(f"{name} needs options: add an example to REQUIRED ({error})")


@pytest.mark.parametrize("name", names())
class TestEveryOp:
    def test_is_one_of_the_kinds(self, name: str) -> None:
        from curate.op import Linked

        assert issubclass(find(name), (Score, Grouped, Fitted, Linked))

    def test_says_what_it_does_and_where_it_is_published(self, name: str) -> None:
        line = about(name)
        assert line.endswith(".") and 20 < len(line) < 140, line
        assert find(name).cite

    def test_makes_columns_of_arrow_types(self, name: str) -> None:
        made = example(name).makes()
        assert made and all(isinstance(kind, pa.DataType) for kind in made.values())
        assert not set(made) & {"uid", "url", "text", "kept", "reason", "dropped_by"}

    def test_has_an_identity_that_json_holds_and_a_worker_can_get(self, name: str) -> None:
        op = example(name)
        assert op.spec()["op"] == name
        json.dumps(op.spec())
        again = pickle.loads(pickle.dumps(op))
        assert again.spec() == op.spec() and again.makes() == op.makes()

    def test_how_it_is_computed_is_no_part_of_its_identity(self, name: str) -> None:
        options = REQUIRED.get(name, {})
        assert load({name: {**options, "batch_size": 7}}).spec() == example(name).spec()

    def test_refuses_an_unknown_option_by_name(self, name: str) -> None:
        with pytest.raises(CurateError, match=r"no option 'batch_sise' \(did you mean 'batch_size'\?\)"):
            load({name: {**REQUIRED.get(name, {}), "batch_sise": 7}})

    def test_module_imports_nothing_heavy(self, name: str) -> None:
        path = Path(str(importlib.import_module(f"curate.{name}").__file__))
        heavy = {"torch", "ray", "open_clip", "img2dataset", "transformers", "cv2", "onnxruntime", "rapidocr", "faiss"}
        found = set()
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "").split(".")[0])
        assert not found & heavy


#: Ops that stand under dedupe/ or balance/ and decide nothing: they make columns for others.
UNDECIDED = {"balance.clusters", "balance.standardise"}


@pytest.mark.parametrize("name", [name for name in names() if not name.startswith("score.")])
class TestEveryDecision:
    def test_is_a_filter_over_columns_that_the_op_makes(self, name: str) -> None:
        decision = example(name).decision()
        assert bool(decision) == (name not in UNDECIDED)
        if decision:
            rule = load_filter({"name": "step", **decision})
            assert rule.needs() and set(rule.needs()) <= set(example(name).makes())
            check_columns(rule, example(name).makes())

    def test_holds_under_any_name_of_the_table(self, name: str) -> None:
        op = load({name: {**REQUIRED.get(name, {}), "name": "my-own.name"}})
        if name not in UNDECIDED:
            check_columns(load_filter({"name": "step", **op.decision()}), op.makes())


@pytest.mark.parametrize("name", library("pipelines"))
def test_every_pipeline_is_right_as_it_ships(name: str, tmp_path: Path, hub: Hub) -> None:
    from curate.pipeline.file import load_pipeline

    hub.stub("ViT-L-14/openai")

    pairs = {"url": ["http://a.example/1.jpg"], "text": ["a red car"], "sha256": ["0"]}
    pl.DataFrame(pairs).write_parquet(tmp_path / "pairs.parquet")
    given = {"input": str(tmp_path / "pairs.parquet"), "root": str(tmp_path / "store")}
    data = read_yaml(library("pipelines")[name])
    assert data["name"] == name and data["about"]
    loaded = load_pipeline(name, given)
    assert loaded.steps
    assert not (tmp_path / "store").exists(), "checking does no work"
