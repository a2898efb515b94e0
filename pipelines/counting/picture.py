"""A picture of upright boxes and lines of text, as PNG and as SVG.

The PNG needs Pillow and the DejaVu fonts that matplotlib brings, but not the import of matplotlib: that alone costs more CPU time
than both files. The SVG has its text as text, so a viewer without the DejaVu fonts shows similar ones.
"""

from __future__ import annotations

import functools
import html
import importlib.util
import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

DOTS_PER_INCH = 150
POINT = DOTS_PER_INCH / 72  # pixels
_NO_CHARACTER = "\U0010ffff"

Anchor = Literal["start", "middle", "end"]
Face = Literal["sans", "bold", "mono"]

_FILES: dict[Face, str] = {"sans": "DejaVuSans.ttf", "bold": "DejaVuSans-Bold.ttf", "mono": "DejaVuSansMono.ttf"}
_ANCHORS: dict[Anchor, str] = {"start": "ls", "middle": "ms", "end": "rs"}
_STYLE = (
    "text{font-family:'DejaVu Sans',Verdana,sans-serif;white-space:pre}.bold{font-weight:bold}"
    ".mono{font-family:'DejaVu Sans Mono',Menlo,Consolas,monospace}"
)


class Box(NamedTuple):
    """Edges in pixels: `right` and `bottom` are the first ones outside."""

    left: int
    top: int
    right: int
    bottom: int
    colour: str


class Text(NamedTuple):
    """x is the place of the anchor, y that of the baseline, both in pixels; the size is in points."""

    x: int
    y: int
    text: str
    size: float = 9
    colour: str = "#000000"
    anchor: Anchor = "start"
    face: Face = "sans"


class Picture(NamedTuple):
    width: int
    height: int
    marks: list[Box | Text]

    def png(self) -> bytes:
        from PIL import Image, ImageDraw

        image = Image.new("RGB", (self.width, self.height), "white")
        brush = ImageDraw.Draw(image)
        for mark in self.marks:
            if isinstance(mark, Box):
                if mark.left < mark.right and mark.top < mark.bottom:
                    brush.rectangle((mark.left, mark.top, mark.right - 1, mark.bottom - 1), mark.colour)
            else:
                font = _font(mark.face, mark.size)
                brush.text((mark.x, mark.y), mark.text, mark.colour, font, _ANCHORS[mark.anchor])
        sink = io.BytesIO()
        # Level 6 makes the file a sixth smaller, and takes half as long again.
        image.save(sink, "png", compress_level=3, dpi=(DOTS_PER_INCH, DOTS_PER_INCH))
        return sink.getvalue()

    def svg(self) -> bytes:
        lines = [
            '<?xml version="1.0" encoding="utf-8"?>',
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width / POINT:g}pt" height="{self.height / POINT:g}pt" '
            f'viewBox="0 0 {self.width} {self.height}">',
            f"<style>{_STYLE}</style>",
            '<rect width="100%" height="100%" fill="#ffffff"/>',
            *map(_element, self.marks),
            "</svg>\n",
        ]
        return "\n".join(lines).encode()


def _element(mark: Box | Text) -> str:
    if isinstance(mark, Box):
        width, height = max(0, mark.right - mark.left), max(0, mark.bottom - mark.top)
        return f'<rect x="{mark.left}" y="{mark.top}" width="{width}" height="{height}" fill="{mark.colour}"/>'
    return (
        f'<text class="{mark.face}" x="{mark.x}" y="{mark.y}" font-size="{round(mark.size * POINT)}" fill="{mark.colour}" '
        f'text-anchor="{mark.anchor}">{html.escape(mark.text, quote=False)}</text>'
    )


def widest(texts: Iterable[str], size: float) -> int:
    """Pixels that the longest of these lines takes."""
    return max((round(_font("sans", size).getlength(text)) for text in texts), default=0)


@functools.cache
def has_glyph(character: str) -> bool:
    """Whether the font of the tables has this character."""
    if character.isascii():
        return character.isprintable()
    return _shape(character) != _no_shape()


@functools.cache
def _no_shape() -> bytes:
    return _shape(_NO_CHARACTER)


def _shape(character: str) -> bytes:
    return bytes(_font("mono", 9).getmask(character))


@functools.cache
def _font(face: Face, size: float) -> FreeTypeFont:
    from PIL import ImageFont

    # Not the layout of the library raqm, which a system has or has not.
    path = _fonts_folder() / _FILES[face]
    return ImageFont.truetype(str(path), round(size * POINT), layout_engine=ImageFont.Layout.BASIC)


@functools.cache
def _fonts_folder() -> Path:
    spec = importlib.util.find_spec("matplotlib")
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
        if folder.is_dir():
            return folder
    import matplotlib  # some systems keep its data in another folder

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"
