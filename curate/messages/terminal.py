"""What is printed is shown, never obeyed: captions, urls and reasons of strangers hold terminal commands."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

#: What a terminal obeys or hides: C0 and C1 controls (ESC, CSI, OSC ...), marks that turn the direction of text, marks
#: without a width (but for the joiners of emoji and of Persian), separators of lines and paragraphs, tags, and halves
#: of surrogate pairs, which cannot be encoded.
_CONTROLS = (
    "\x00-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f"
)
_OBEYED = re.compile(f"[{_CONTROLS}]")
_OBEYED_IN_LINES = re.compile(f"(?![\n\t])[{_CONTROLS}]")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def plain(text: str, lines: bool = False) -> str:
    r"""Text as a terminal may get it: what it would obey is spelled out. lines: ends of lines and tabs stay.

    >>> print(plain("a \x1b[31mred\x1b]0;title\x07 bus\nand \u202etxt.exe"))
    a \x1b[31mred\x1b]0;title\x07 bus\nand \u202etxt.exe
    """
    return (_OBEYED_IN_LINES if lines else _OBEYED).sub(_spelled, text)


def without_colours(text: str) -> str:
    r"""Lines of another program's log: its colours go, what else a terminal would obey is spelled out.

    >>> without_colours("\x1b[33mshard 7\x1b[0m: done\n")
    'shard 7: done\n'
    """
    return plain(_COLOURS.sub("", text.replace("\r\n", "\n")), lines=True)


def _spelled(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


class Terminal(Console):
    """A console on which nothing that is printed can give the terminal a command but rich itself."""

    def __init__(self, **options: Any):
        # `my_ops:star: ...` names an op, and a caption may hold `:heart:`: rich would put a picture there.
        super().__init__(emoji=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or not _OBEYED_IN_LINES.search(segment.text):
                yield segment
            else:
                yield Segment(plain(segment.text, lines=True), segment.style)

    def say(self, text: Any) -> None:
        """A line as it is: no markup, no colours, not cut at the width of the terminal."""
        self.print(str(text), markup=False, highlight=False, soft_wrap=True)


#: Messages go to stderr, so that what a command prints can be piped.
console = Terminal(stderr=True, highlight=False)

#: What a command is asked for goes to stdout.
out = Terminal(highlight=False)
