"""`curate get`: options as img2dataset's command line takes them, and what is printed at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_origin

from curate.download.options import DownloadOptions
from curate.errors import CurateError
from curate.library.yaml_text import parse
from curate.messages.counted import counted
from curate.url_list import GetResult, again

#: Options that take several names, with commas between them or as a list.
_LISTS = {
    "save_additional_columns",
    *(name for name, field in DownloadOptions.model_fields.items() if get_origin(field.annotation) is tuple),
}
#: Texts, whatever they look like.
_TEXTS = (
    *("url_list", "output_folder", "url_col", "caption_col", "input_format"),
    *("user_agent", "user_agent_token", "user_agent_contact"),
)
#: Options that are on or off.
_FLAGS = (
    *("resize_only_if_bigger", "skip_reencode", "disable_all_reencoding", "extract_exif", "enable_wandb"),
    *("convert_to_srgb", "respect_robots_txt", "verify_tls"),
)


def values_of_words(words: Sequence[str]) -> dict[str, Any]:
    """Options by their names: `--name value`, `--name=value`, `--flag`, `--noflag`; a word alone is the list of URLs.

    >>> values_of_words(["--image_size", "512", "--skip-reencode", "urls.txt", "--caption_col=alt"])
    {'image_size': 512, 'skip_reencode': True, 'url_list': 'urls.txt', 'caption_col': 'alt'}
    >>> values_of_words(["--noresize_only_if_bigger", "--save_additional_columns", "['a', b]"])
    {'resize_only_if_bigger': False, 'save_additional_columns': ['a', 'b']}

    Raises:
        CurateError: for an option that stands twice, or without a value.
    """
    options: dict[str, Any] = {}
    rest = list(words)
    while rest:
        name, value = _option(rest)
        if name in options:
            raise CurateError(f"get: '{name}' stands twice: {options[name]!r} and {value!r}")
        options[name] = value
    return options


def _option(rest: list[str]) -> tuple[str, Any]:
    """The option that the next words are; they are taken off the list."""
    word = rest.pop(0)
    if not word.startswith("--"):
        return "url_list", word
    name, sign, text = word.removeprefix("--").partition("=")
    name = name.replace("-", "_")
    if sign:
        return name, _value(name, text)
    if name in _FLAGS and not (rest and rest[0].lower() in ("true", "false")):
        return name, True
    if name.startswith("no") and name[2:] in _FLAGS:
        return name[2:], False
    if not rest:
        raise CurateError(f"get: --{name} lacks its value")
    return name, _value(name, rest.pop(0))


def _value(name: str, text: str) -> Any:
    if text in ("None", "null"):
        return None
    if name in _TEXTS:
        return text
    value = parse(text, f"--{name}")
    if name in _LISTS and not isinstance(value, list):
        return [item.strip() for item in text.split(",") if item.strip()]
    return value


def result_lines(result: GetResult, options: Mapping[str, Any]) -> list[str]:
    """What is printed: counts, where the images are, the next command."""
    without = ", ".join(f"{rows:,} {status}" for status, rows in result.without.items())
    form = options.get("output_format", "files")
    return [
        f"{result.images:,} images of {counted(result.rows, 'row')}" + (f"; without one: {without}" if without else ""),
        f"{result.to}: {form}, {counted(result.shards, 'shard')}",
        again(result),
    ]
