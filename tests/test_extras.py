"""What is installed with which extra: declared where it is imported, and told by one line where it is missing."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

import pytest
from conftest import picture, write_tar
from hidden_packages import ROOT, declared, hiding, modules_of, outside_the_base
from test_imports import OPS, imports, modules, ours, path_of, reached, room

from curate.library.op_names import KINDS
from curate.messages.packages import install_hint, lacking, missing

#: Which room may import packages of which extras; a room that is not here has the base install alone.
ROOMS = {
    "alike": {"dedupe"},
    "annotate": {"gpu"},
    "arrays": {"dedupe"},
    "balance": {"balance"},
    "cli": {"balance"},
    "cluster": {"gpu", "ray"},
    "demo": {"demo", "download"},
    "download": {"download"},
    "look": {"gpu"},
    "metaclip": {"balance"},
    "metadata": {"balance"},
    "models": {"gpu"},
    "pictures": {"download", "image"},
    "read": {"crawl"},
    "score": {"balance", "faces", "image", "language"},
    "submit": {"ray"},
}

#: Packages that another package imports, or that hold data.
IMPORTED_BY_OTHERS = {
    "gcsfs": "fsspec opens gs:// with it",
    "ipykernel": "runs the notebook",
    "matplotlib": "the notebook draws with it",
    "nbclient": "runs the notebook in its test",
    "nbformat": "reads the notebook in its test",
    "s3fs": "fsspec opens s3:// with it",
}

#: The extra that each op needs, when nothing but the base is installed and its options are those of OPTIONS.
NEEDS = {
    "balance.cluster_cap": "balance",
    "balance.clusters": "balance",
    "balance.concepts": "balance",
    "balance.hierarchical": "balance",
    "balance.m4": "balance",
    "balance.metaclip": "balance",
    "balance.one_text": "balance",
    "balance.quota": "balance",
    "balance.soft_cap": "balance",
    "balance.standardise": "",
    "dedupe.decontaminate": "dedupe",
    "dedupe.exact": "dedupe",
    "dedupe.minhash": "dedupe",
    "dedupe.perceptual": "dedupe",
    "dedupe.semantic": "dedupe",
    "dedupe.shared": "",
    "score.aesthetic": "gpu",
    "score.backdoor": "balance",
    "score.caption_pii": "",
    "score.clip": "gpu",
    "score.clip_masked": "gpu",
    "score.clip_no_digits": "gpu",
    "score.clipscore": "gpu",
    "score.concepts": "balance",
    "score.cotr": "",
    "score.entries": "balance",
    "score.faces": "faces",
    "score.fasttext_tokens": "",
    "score.formula": "",
    "score.hub": "",
    "score.hype": "",
    "score.image_quality": "image",
    "score.join": "",
    "score.language": "language",
    "score.ncl": "balance",
    "score.listed_tokens": "balance",
    "score.near_centroids": "balance",
    "score.normsim": "balance",
    "score.nsfw": "gpu",
    "score.ocr": "ocr",
    "score.parrot": "gpu",
    "score.parts_of_speech": "text",
    "score.pdq": "image",
    "score.perplexity": "gpu",
    "score.phash": "image",
    "score.pixel_hash": "image",
    "score.q16": "gpu",
    "score.rare_words": "balance",
    "score.ref_clipscore": "gpu",
    "score.synsets": "gpu",
    "score.text_boxes": "ocr",
    "score.text_entropy": "balance",
    "score.text_left": "ocr",
    "score.text_rules": "",
    "score.watermark": "gpu",
    "score.word_frequency": "balance",
    "score.named_face": "",
    "score.words": "",
}

#: Packages that an op leads to with other options only, or through a function that it does not call.
ONLY_SOMETIMES = {
    "balance.cluster_cap": {"ada_url"},
    "balance.concepts": {"safetensors", "torch"},
    "balance.hierarchical": {"ada_url"},
    "balance.metaclip": {"wordfreq"},
    "balance.one_text": {"ada_url"},
    "dedupe.minhash": {"ada_url"},
    "dedupe.perceptual": {"ada_url"},
    "dedupe.semantic": {"ada_url"},
    "dedupe.shared": {"ada_url"},
    "score.backdoor": {"ada_url"},
    "score.hub": {"safetensors", "torch"},
    "score.hype": {"safetensors", "torch"},
    "score.join": {"ada_url"},
    "score.language": {"lingua"},
    "score.ncl": {"ada_url"},
    "score.near_centroids": {"safetensors", "torch"},
    "score.normsim": {"safetensors", "torch"},
    "score.perplexity": {"timm"},
}

#: Comes with numba, which asks for one release of it.
WITH_NUMBA = "llvmlite"

#: Options without which an op cannot be made.
OPTIONS = {
    "balance.cluster_cap": {"by": "clip_img_cluster", "cap": 20},
    "balance.clusters": {"by": "clip_img"},
    "balance.concepts": {"best": "match"},
    "balance.hierarchical": {"by": ["coarse", "fine"], "rows": 100},
    "balance.m4": {"attributes": {"has_noun": 0.5}},
    "balance.quota": {"shares": "sqrt", "rows": 10},
    "balance.soft_cap": {"by": "m_flyt", "rows": 100},
    "balance.standardise": {"columns": ["words"]},
    "dedupe.decontaminate": {"by": "phash", "against": "set.npy", "radius": 4},
    "dedupe.semantic": {"by": "clip_img", "eps": 0.1},
    "score.aesthetic": {"file": "head.pth"},
    "score.concepts": {"file": "concepts.tsv"},
    "score.formula": {"expr": "words - characters"},
    "score.hub": {"bank": "bank.npy"},
    "score.hype": {"curvature": 1.0, "images": "images.npy", "captions": "captions.npy"},
    "score.join": {"table": "scores.parquet"},
    "score.named_face": {"names": "people.txt"},
    "score.near_centroids": {"centroids": "centroids.npy"},
    "score.normsim": {"targets": "targets.npy"},
    "score.nsfw": {"file": "head.pt"},
    "score.q16": {"file": "head.pt"},
    "score.ref_clipscore": {"references": "others"},
    "score.watermark": {"file": "net.pt"},
}

HELD_BY_OTHERS = {"all", "base", "clip", "dev", "notebook"}
EXTRAS = sorted(set(declared()) - HELD_BY_OTHERS)


@cache
def extras_of(module: str) -> frozenset[str]:
    """The extras that name a top-level module's package; `base` among them."""
    return frozenset(e for e, packages in declared().items() for p in packages if module in modules_of().get(p, []))


def foreign(module: str, at_load: bool = False) -> set[str]:
    """Top-level modules that a module of curate imports, neither Python's nor curate's."""
    names = {name.partition(".")[0] for name in imports(module, at_load)}
    return names - set(sys.stdlib_module_names) - {"curate"}


@cache
def texts(module: str) -> frozenset[str]:
    """Texts in a module's code: names of modules that are imported by name, of packages with data."""
    nodes = ast.walk(ast.parse(path_of(module).read_text()))
    return frozenset(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


@pytest.mark.parametrize("module", [m for m in modules() if "." in m])
def test_what_is_imported_is_declared_in_an_extra_of_the_room(module: str) -> None:
    allowed = {"base", *ROOMS.get(room(module), ())}
    assert {name for name in foreign(module) if not extras_of(name) & allowed} == set()


def test_a_room_has_no_extra_that_it_does_not_import() -> None:
    used: dict[str, set[str]] = {}
    for module in modules():
        if "." in module:
            for name in foreign(module) | {t for t in texts(module) if extras_of(t)}:
                used.setdefault(room(module), set()).update(extras_of(name))
    assert {
        name: extras - used.get(name, set()) for name, extras in ROOMS.items() if extras - used.get(name, set())
    } == {}


@pytest.mark.parametrize("extra", sorted(set(declared()) - {"dev"}))
def test_what_is_declared_is_imported(extra: str) -> None:
    used = set().union(*(foreign(module) | texts(module) for module in modules()))
    idle = {p for p in declared()[extra] if not {p, *modules_of().get(p, [])} & used}
    assert idle <= set(IMPORTED_BY_OTHERS)


@pytest.mark.parametrize("module", ["curate.cli", "curate.run", "curate.pipeline.file", "curate.look.report", *OPS])
def test_commands_and_ops_load_with_the_base_alone(module: str) -> None:
    loaded = {module} | reached(module, at_load=True)
    assert {(m, name) for m in loaded for name in foreign(m, at_load=True) if "base" not in extras_of(name)} == set()


def test_all_extras_hold_everything() -> None:
    """`curate[all]` is a name for all that users may want; pip resolves the extras that it names."""
    lines = {e: "".join(" ".join(packages)) for e, packages in raw().items()}
    held = lines["all"] + lines["demo"]
    assert {e for e in EXTRAS if e != "demo" and e not in held} == set() and "demo" in lines["all"]


def raw() -> dict[str, list[str]]:
    from hidden_packages import tomllib

    extras: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    return extras


ASK = """
import json, sys
from curate.annotate.packages import lacking_packages
from curate.catalog import library, load, names
from curate.filter.rule import load_filter
from curate.messages.packages import lacking
OPTIONS, EXTRAS = json.loads(sys.argv[1]), json.loads(sys.argv[2])
import sitecustomize
answers = {}
ops = {name: load({name: OPTIONS.get(name, {})}) for name in names()}
for name in library("filters"):
    load_filter(name).ops
for extra, hidden in {"base": sitecustomize.HIDDEN, **EXTRAS}.items():
    sitecustomize.HIDDEN[:] = hidden
    answers[extra] = {name: lacking_packages(op) for name, op in ops.items()}
    answers[extra]["packages"] = {name: op.packages() for name, op in ops.items()}
print("ANSWERS", json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What every op says it lacks: with the base install alone, and with all but one extra's packages."""
    hidden = {extra: [m for p in declared()[extra] for m in modules_of().get(p, [])] for extra in EXTRAS}
    environment = hiding(tmp_path_factory.mktemp("hidden") / "all", outside_the_base())
    command = [sys.executable, "-c", ASK, json.dumps(OPTIONS), json.dumps(hidden)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lacks: dict[str, dict[str, str]] = json.loads(done.stdout.rpartition("ANSWERS")[2])
    return lacks


@pytest.mark.slow
def test_every_op_loads_with_the_base_alone_and_names_its_extra(answers: dict[str, dict[str, str]]) -> None:
    """Every filter that ships, with its ops, too: `curate filter` runs no op."""
    said = {name: line for name, line in answers["base"].items() if name != "packages"}
    named = {name: line.rpartition("pip install 'curate[")[2].removesuffix("]'") for name, line in said.items()}
    assert named == NEEDS


@pytest.mark.slow
@pytest.mark.parametrize("extra", EXTRAS)
def test_an_op_without_one_extra_says_so_if_it_works_with_it(extra: str, answers: dict[str, dict[str, str]]) -> None:
    hidden = {m for p in declared()[extra] for m in modules_of().get(p, [])}
    for name, packages in answers[extra]["packages"].items():  # type: ignore[attr-defined]
        line = answers[extra][name]
        gone = sorted(hidden & set(packages))
        if not gone:
            assert line == "", name
            continue
        assert line.startswith(f"{name} needs the package") and "\n" not in line
        assert all(f"'{module}'" in line for module in gone)
        extras = line.rpartition("pip install 'curate[")[2].removesuffix("]'").split(",")
        assert all(set(extras) & extras_of(module) for module in gone), line


def led_to(module: str) -> set[str]:
    """The module and those it leads to, but not by way of what every op loads with `curate.op`."""
    beneath = {"curate.op"} | reached("curate.op", at_load=True)
    seen, todo = {module}, [module]
    while todo:
        more = ours(todo.pop()) - seen - beneath
        seen |= more
        todo += more
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("module", [m for m in OPS if not m.rpartition(".")[2].startswith("_")])
def test_an_op_names_the_packages_that_it_leads_to(module: str, answers: dict[str, dict[str, str]]) -> None:
    """Import by import, but for what only some options lead to; and no package that it does not lead to."""
    name = module.removeprefix("curate.")
    named = set(answers["base"]["packages"][name])  # type: ignore[index]
    leads: set[str] = set()
    strings: set[str] = set()
    for other in led_to(module):
        leads |= {n for n in foreign(other) if "base" not in extras_of(n)}
        strings |= texts(other)
    assert leads - named - {WITH_NUMBA} == ONLY_SOMETIMES.get(name, set())
    assert {n for n in named - leads - strings if n != "cv2"} == set()


def test_which_extra_is_named() -> None:
    assert install_hint("numba", prefer=["dedupe"]) == "pip install 'curate[dedupe]'"
    assert install_hint("numba", prefer=["balance"]) == "pip install 'curate[balance]'"
    assert install_hint("numba", "cv2") == "pip install 'curate[image]'", "one extra rather than two"
    assert install_hint("s3fs", "no_such") == "pip install 'curate[s3]' no-such"
    assert lacking("it", ["numpy", "json"]) == ""


BASE_COMMANDS = [
    ("list",),
    ("run", "{job}", "--set", "root={store}", "--workers", "0"),
    ("score", "{store}", "score.words", "--workers", "0"),
    ("filter", "{store}", "--where", "words > 1"),
    ("show", "{store}"),
    ("report", "{store}"),
    ("write", "{store}", "--keep", "custom", "--to", "{to}", "--workers", "0"),
    ("verify", "{store}"),
    ("verify", "{to}"),
]

JOB = """
steps:
  - read: {input: "INPUT"}
  - annotate: [score.text_rules]
  - filter: {name: some, keep: [{if: "text != 'b'", else: is b}]}
"""


class BaseInstall:
    """Commands where nothing but the base can be imported, and a folder with a job for them."""

    def __init__(self, folder: Path) -> None:
        self.environment = hiding(folder / "hidden", outside_the_base())
        (folder / "in.jsonl").write_text('{"url": "http://a/1", "text": "a red car"}\n')
        write_tar(folder / "in.tar", [{"text": "a red car"}, {"text": "b"}], [picture(1), picture(2)])
        (folder / "job.yaml").write_text(JOB.replace("INPUT", str(folder / "in.tar")))
        names = {"input": "in.jsonl", "job": "job.yaml", "store": "store", "to": "shards"}
        self.places = {name: str(folder / file) for name, file in names.items()}

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "curate", *(word.format(**self.places) for word in words)]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseInstall:
    install = BaseInstall(tmp_path_factory.mktemp("base"))
    for words in BASE_COMMANDS:
        done = install(*words)
        assert done.returncode == 0, (words, done.stderr)
    return install


@pytest.mark.slow
def test_a_base_install_reads_scores_filters_shows_writes_and_verifies(base: BaseInstall) -> None:
    assert "1 kept + 1 dropped = 2 in: exact" in base("show", "{store}").stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ("run", "{job}", "--set", "root={store}"),
            "a pool of workers needs the package 'ray': .*curate.ray.*--workers 0",
        ),
        (
            ("run", "demo", "--check", "--set", "input={input}"),
            "download needs .*'cv2'.*pip install 'curate.download.'",
        ),
        (
            ("run", "web", "--check", "--set", "input={input}", "--set", "root={store}"),
            "score.clip needs .*'curate.gpu.'",
        ),
        (("score", "{store}", "score.phash", "--workers", "0"), "score.phash needs .*'numba'.*'curate.image.'"),
        (
            ("score", "{store}", "dedupe.minhash", "--workers", "0"),
            "dedupe.minhash needs .*pip install 'curate.dedupe.'",
        ),
        (("probe", "{store}", "score.language"), "score.language needs .*'fasttext'.*pip install 'curate.language.'"),
        (("probe-text", "lite0-minilm"), "'wordfreq' is not installed: pip install 'curate.balance.'"),
        (("metadata", "{store}.json", "--text", "{input}"), "'numba' is not installed: pip install 'curate.balance.'"),
        (("submit", "{job}", "--address", "http://127.0.0.1:1"), "submitting needs .*'ray'.*pip install 'curate.ray.'"),
        (("show", "s3://bucket/store"), "s3fs.*pip install 'curate.s3.'"),
    ],
)
def test_a_command_that_lacks_a_package_names_its_extra(words: tuple[str, ...], line: str, base: BaseInstall) -> None:
    done = base(*words)
    said = [text for text in done.stderr.splitlines() if text.startswith("error:")]
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert any(re.search(line, text) for text in said), done.stderr


def test_a_folder_of_the_name_is_no_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ray leaves /tmp/ray; a user's own folders may be packages without __init__.py."""
    for name in ("ray", "mine"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: PathFinder.find_spec(name, [str(tmp_path)]))
    assert missing(["ray", "mine", "gone"]) == ["ray", "gone"]


@pytest.mark.slow
def test_the_demo_without_its_packages_says_so(base: BaseInstall) -> None:
    command = [sys.executable, "-m", "curate.demo", "{to}".format(**base.places)]
    done = subprocess.run(command, env=base.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.endswith("ray: pip install 'curate[demo]'\n"), done.stderr
    assert done.stderr.startswith("error: the demo needs ada_url, aiohappyeyeballs, aiohttp,")


def test_every_kind_of_op_is_in_the_table() -> None:
    assert {name.partition(".")[0] for name in NEEDS} == set(KINDS)
