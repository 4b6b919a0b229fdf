"""Processes in which packages cannot be imported, as on a machine where an extra was not installed."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

import curate

ROOT = Path(curate.__file__).parent.parent

#: Packages and all that they require.
brought = runpy.run_path(str(ROOT / "tools" / "install_sizes.py"))["brought"]

#: Modules of packages that may not be installed here.
MODULES = {"gcsfs": ["gcsfs"], "standard-imghdr": ["imghdr"]}


@cache
def declared() -> Mapping[str, list[str]]:
    """Packages that each extra of pyproject.toml names itself; those of the base install under `base`."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = {"base": project["dependencies"], **project["optional-dependencies"]}
    return {
        extra: [n for n in (canonicalize_name(Requirement(line).name) for line in lines) if n != "curate"]
        for extra, lines in lists.items()
    }


@cache
def modules_of() -> Mapping[str, list[str]]:
    """The top-level modules of each package that is installed."""
    modules: dict[str, list[str]] = {}
    for module, packages in metadata.packages_distributions().items():
        for package in packages:
            modules.setdefault(canonicalize_name(package), []).append(module)
    return {**MODULES, **modules}


def outside_the_base() -> set[str]:
    """Modules that a base install has not."""
    base = {module for package in brought(*declared()["base"]) for module in modules_of().get(package, [])}
    return {m for modules in modules_of().values() for m in modules} - base - {"curate", *sys.stdlib_module_names}


def hiding(folder: Path, modules: Iterable[str]) -> dict[str, str]:
    """Environment of a Python that cannot find the modules, whatever is installed."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        f"HIDDEN = {sorted(modules)!r}\n"
        "class Hide:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in HIDDEN:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hide())\n"
    )
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")])}
