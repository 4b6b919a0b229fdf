"""YAML of a user's: one way to read it, with limits, and with errors that show the line; and a value in one line."""

from __future__ import annotations

import re
from typing import Any

import yaml

from curate.errors import CurateError

#: A pipeline or filter is a page or two; generated ones may be longer.
MOST_CHARACTERS = 5_000_000

#: Values inside values; deeper, Python's own stack ends.
MOST_LEVELS = 50

#: Values of a document once its aliases are followed: a few lines of aliases of aliases make billions.
MOST_VALUES = 1_000_000

_UNUSABLE = re.compile("[\0\ud800-\udfff]")


class _Loader(yaml.SafeLoader):
    """Safe YAML that counts levels, and refuses two values for one key (YAML itself takes the last, unsaid)."""

    levels = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.levels += 1
        if self.levels > MOST_LEVELS:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem=f"more than {MOST_LEVELS} levels", problem_mark=mark)
        node = super().compose_node(parent, index)
        self.levels -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    problem = f"the key '{key.value}' stands twice"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def parse(text: str, where: str) -> Any:
    """The value that a YAML text stands for.

    Raises:
        CurateError: with the line, for what is not YAML, and for YAML that contains itself, goes too deep or unfolds
            to too many values.

    >>> parse("score.clip: {model: ViT", "op")
    Traceback (most recent call last):
    curate.errors.CurateError: op is not YAML: line 1, column 24: expected ',' or '}', but got '<stream end>'
    """
    if len(text) > MOST_CHARACTERS:
        raise CurateError(f"{where} is too long for YAML: {len(text):,} characters of {MOST_CHARACTERS:,}")
    try:
        data = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        raise CurateError(f"{where} is not YAML: {_marked(error)}") from error
    except yaml.reader.ReaderError as error:
        raise CurateError(f"{where} is not YAML: {error.reason} (character {error.position + 1})") from error
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        # A date that does not exist, a number that is none.
        raise CurateError(f"{where} is not YAML: {' '.join(str(error).split())[:200]}") from error
    _count(data, where)
    return data


def in_one_line(value: Any) -> str:
    """A value as YAML.

    >>> in_one_line([{"score.clip": {"model": "ViT-L-14/openai"}}])
    '[{score.clip: {model: ViT-L-14/openai}}]'
    """
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return text.strip()


def _marked(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return f"{place}{error.problem or error.context or 'a fault'}"


def _count(data: Any, where: str) -> None:
    """Walks a value as often as it stands in the document, but never around a circle."""
    values, open_now = 0, set[int]()

    def visit(value: Any) -> None:
        nonlocal values
        values += 1
        if values > MOST_VALUES:
            raise CurateError(f"{where}: its aliases unfold to more than {MOST_VALUES:,} values: write it without them")
        if isinstance(value, str) and _UNUSABLE.search(value):
            raise CurateError(f"{where}: the text {value!a} holds NUL or half a character: no name or path may")
        if not isinstance(value, (dict, list)):
            return
        if id(value) in open_now or len(open_now) > MOST_LEVELS:
            raise CurateError(f"{where}: a value contains itself (an alias inside its own anchor), or nests too deep")
        open_now.add(id(value))
        for child in [*value, *value.values()] if isinstance(value, dict) else value:
            visit(child)
        open_now.remove(id(value))

    visit(data)
