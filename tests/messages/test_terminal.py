"""What strangers wrote cannot command a terminal: captions, urls, reasons and names are shown, not obeyed."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.markup import escape
from rich.table import Table

from curate.messages.remarks import Remarks
from curate.messages.terminal import Terminal, plain, without_colours

#: What a terminal obeys, or shows in another order or not at all; ends of lines and tabs are the console's own.
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)

HOSTILE = {
    "colour": "\x1b[31mred",
    "title": "\x1b]0;owned\x07",
    "link": "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "clear": "\x1b[2J\x1b[H",
    "answer": "\x1b[c\x1b[6n",
    "eight-bit csi": "\x9b2J",
    "eight-bit osc": "\x9d0;t\x9c",
    "right to left": "\u202egnp.exe",
    "isolate": "\u2067abc\u2069",
    "mark": "a\u200f\u061cb",
    "overwrite": "good\rbad\x08\x08",
    "hidden": "pass\u200bword\ufeff",
    "surrogate": "\ud83d",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=list(HOSTILE))
def test_it_is_spelled_out(text: str) -> None:
    assert not OBEYED.search(plain(text)) and "\\" in plain(text)


@pytest.mark.parametrize(
    "text", ["café", "日本語のバス", "عربي", "हिन्दी", "👩‍👩‍👧 👍🏽 🇩🇪", "می‌خواهم", "a\u0301", "₂ ½ “quoted”"]
)
def test_what_people_write_stays(text: str) -> None:
    assert plain(text) == text and printed(text) == text


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=list(HOSTILE))
def test_no_way_to_print_lets_it_through(text: str, terminal: bool) -> None:
    table = Table(title=escape(text))
    table.add_column(escape(text))
    table.add_row(escape(text), style="bold")
    for thing in (escape(text), table, f"[bold red]error:[/] {escape(text)}"):
        assert not OBEYED.search(without_colours_of_rich(printed(thing, terminal)))
    file = io.StringIO()
    Terminal(file=file, force_terminal=terminal).say(text)
    assert not OBEYED.search(file.getvalue())


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.text(st.characters(), max_size=60))
def test_any_text(text: str) -> None:
    assert not OBEYED.search(plain(text)) and "\n" not in plain(text)
    assert not OBEYED.search(printed(escape(text)))
    assert plain(plain(text)) == plain(text)


def test_a_log_keeps_its_lines_and_loses_its_colours() -> None:
    assert without_colours("\x1b[1;33ma\x1b[0m\tb\r\nc\x1b[2J\n") == "a\tb\nc\\x1b[2J\n"


def test_a_remark_of_a_caption(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from curate.messages import remarks

    file = io.StringIO()
    monkeypatch.setattr(remarks, "console", Terminal(file=file, force_terminal=False, width=200))
    total = Remarks()
    total.add("cut", example="row 3: \x1b]8;;http://evil.example")
    remarks.say("read", total)
    assert file.getvalue().strip() == r"read: 1 cut (row 3: \x1b]8;;http://evil.example)"


def printed(thing: object, terminal: bool = False) -> str:
    file = io.StringIO()
    Terminal(file=file, force_terminal=terminal, width=200).print(thing)
    return file.getvalue().removesuffix("\n")


def without_colours_of_rich(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_name_between_colons_stays_a_name() -> None:
    """An op `my_ops:star` was told as a picture of a star."""
    file = io.StringIO()
    terminal = Terminal(file=file, width=80)
    terminal.print("[red]error:[/] my_ops:star: no column", ":heart:")
    table = Table(show_header=False, box=None)
    table.add_row("a :smile: caption")
    terminal.print(table)
    lines = [line.strip() for line in file.getvalue().splitlines()]
    assert lines == ["error: my_ops:star: no column :heart:", "a :smile: caption"]
