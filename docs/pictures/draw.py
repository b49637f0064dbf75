#!/usr/bin/env python3
"""Draws a terminal's screen as SVG: `tmux capture-pane -e -p -t PANE | draw.py > picture.svg`.

The picture in the README is made so from the running demo; docs/pictures/README.md says how.
Standard library only. Cells are placed one by one, so that wide characters and box lines meet.
"""
import html
import re
import sys
import unicodedata

CELL_W, CELL_H, SIZE, PAD = 8.4, 18, 14, 12
INK, PAPER = "#d0d0d0", "#16181d"
BASE = ["#16181d", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#d0d0d0",
        "#6b7280", "#ff7b85", "#b5e08f", "#ffd68a", "#82c4ff", "#dd9bf0", "#7fdbe6", "#ffffff"]


def indexed(n: int) -> str:
    """A colour of the 256."""
    if n < 16:
        return BASE[n]
    if n < 232:
        n -= 16
        steps = [0, 95, 135, 175, 215, 255]
        return "#%02x%02x%02x" % (steps[n // 36], steps[n // 6 % 6], steps[n % 6])
    grey = 8 + 10 * (n - 232)
    return "#%02x%02x%02x" % (grey, grey, grey)


class Pen:
    def __init__(self) -> None:
        self.fg = self.bg = None
        self.bold = self.dim = self.reverse = False

    def take(self, params: list[int]) -> None:
        """One SGR sequence."""
        codes = iter(params or [0])
        for code in codes:
            if code == 0:
                self.__init__()
            elif code in (1, 2, 7):
                setattr(self, {1: "bold", 2: "dim", 7: "reverse"}[code], True)
            elif code in (22, 27):
                if code == 22:
                    self.bold = self.dim = False
                else:
                    self.reverse = False
            elif code in (38, 48):
                kind = next(codes, 5)
                if kind == 5:
                    colour = indexed(next(codes, 7))
                else:
                    colour = "#%02x%02x%02x" % tuple(next(codes, 0) for _ in range(3))
                setattr(self, "fg" if code == 38 else "bg", colour)
            elif code in (39, 49):
                setattr(self, "fg" if code == 39 else "bg", None)
            elif 30 <= code <= 37 or 90 <= code <= 97:
                self.fg = BASE[code - 30 if code < 90 else code - 82]
            elif 40 <= code <= 47 or 100 <= code <= 107:
                self.bg = BASE[code - 40 if code < 100 else code - 92]

    def colours(self) -> tuple[str, str | None]:
        fg, bg = self.fg or INK, self.bg
        if self.reverse:
            fg, bg = bg or PAPER, fg
        return fg, bg


def main() -> None:
    lines = sys.stdin.read().rstrip("\n").split("\n")
    shapes, wide = [], 0
    pen = Pen()
    for row, line in enumerate(lines):
        column = 0
        for part in re.split(r"(\x1b\[[0-9;:]*m)", line):
            sgr = re.fullmatch(r"\x1b\[([0-9;:]*)m", part)
            if sgr:
                pen.take([int(n or 0) for n in re.split("[;:]", sgr[1])])
                continue
            for char in part:
                width = 2 if unicodedata.east_asian_width(char) in "WF" else 1
                fg, bg = pen.colours()
                x, y = PAD + column * CELL_W, PAD + row * CELL_H
                if bg:
                    shapes.append(f'<rect x="{x:.1f}" y="{y}" width="{CELL_W * width:.1f}" height="{CELL_H}" fill="{bg}"/>')
                if char == "▀":  # a pixel of a picture; glyphs would leave seams
                    shapes.append(f'<rect x="{x:.1f}" y="{y}" width="{CELL_W}" height="{CELL_H / 2:.0f}" fill="{fg}"/>')
                elif char != " ":
                    style = ' font-weight="bold"' if pen.bold else ""
                    style += ' opacity="0.6"' if pen.dim else ""
                    shapes.append(f'<text x="{x:.1f}" y="{y + 13.5}" fill="{fg}"{style}>{html.escape(char)}</text>')
                column += width
        wide = max(wide, column)
    w, h = wide * CELL_W + 2 * PAD, len(lines) * CELL_H + 2 * PAD
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w:.0f} {h}" width="{w:.0f}" height="{h}" '
          f'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="{SIZE}" shape-rendering="crispEdges">')
    print(f'<rect width="100%" height="100%" rx="8" fill="{PAPER}"/>')
    print("\n".join(shapes))
    print("</svg>")


if __name__ == "__main__":
    main()
