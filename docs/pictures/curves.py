#!/usr/bin/env python3
"""Draws docs/pictures/verdict-*.svg from what comfytop measures of tests/media/.

    cargo build --release && docs/pictures/curves.py [--binary FILE]

Needs Python 3.9 and nothing else. The pictures change only when the measurements do.
"""
from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# File, and what was built into it.
CLIPS = {
    "loop_perfect.mp4": "a perfect loop",
    "loop_gentle.mp4": "a perfect loop that moves little",
    "loop_doubled_last.mp4": "the first frame once more at the end",
    "loop_tail_4.mp4": "four stray frames at the end",
    "loop_brighter_end.mp4": "12 % brighter at the end",
    "pan_no_loop.mp4": "a pan that does not come back",
}
INK = {"loops": "#2e7d32", "nearly": "#b26a00", "pulses": "#b26a00", "jumps": "#c62828", "still": "#777", "n/a": "#777"}
WIDE, HIGH, LEFT, TOP, GAP = 330, 130, 34, 30, 50


def measured(binary: str) -> list[dict]:
    files = [str(ROOT / "tests/media" / name) for name in CLIPS]
    out = subprocess.run([binary, "measure", "--json", "--curves", *files], check=True, capture_output=True, text=True)
    return [json.loads(line) for line in out.stdout.splitlines()]


def line(values: list[float], count: int, x0: float, y0: float, offset: int, low: float) -> str:
    def at(n: int, value: float) -> str:
        return f"{x0 + (n + offset) * WIDE / (count - 1):.1f},{y0 + (1 - value) / (1 - low) * HIGH:.1f}"
    return " ".join(at(n, value) for n, value in enumerate(values))


def chart(clip: dict, words: str, x0: float, y0: float) -> list[str]:
    first, before, frames = clip["ssim_vs_first"], clip["ssim_adjacent"], clip["frames"]
    low = 0.4
    out = [f'<text x="{x0}" y="{y0 - 12}" class="t">{words}</text>',
           f'<text x="{x0 + WIDE}" y="{y0 - 12}" class="v" fill="{INK[clip["verdict"]]}">{clip["verdict"]}</text>',
           f'<rect x="{x0}" y="{y0}" width="{WIDE}" height="{HIGH}" class="box"/>']
    for value in (1.0, 0.7, 0.4):
        out.append(f'<text x="{x0 - 5}" y="{y0 + (1 - value) / (1 - low) * HIGH + 3:.1f}" class="s">{value:.1f}</text>')
    if cut := clip["best_cut"]:
        x = x0 + (frames - cut["drop_end"] - 0.5) * WIDE / (frames - 1)
        out.append(f'<rect x="{x:.1f}" y="{y0}" width="{x0 + WIDE - x:.1f}" height="{HIGH}" class="cut"/>')
    out.append(f'<polyline points="{line(before, frames, x0, y0, 1, low)}" class="b"/>')
    out.append(f'<polyline points="{line(first, frames, x0, y0, 0, low)}" class="f"/>')
    number = lambda key: "–" if clip[key] is None else f"{clip[key]:.2f}"
    facts = (f'SSIM {clip["ssim"]:.3f} · seam {number("seam_ratio")} · motion {number("motion_ratio")}'
             f' · light {clip["luma_step"]:+.1f}')
    out.append(f'<text x="{x0}" y="{y0 + HIGH + 14}" class="n">{facts}</text>')
    return out


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--binary", default=str(ROOT / "target/release/comfytop"))
    clips = measured(p.parse_args().binary)
    body = []
    for n, (clip, words) in enumerate(zip(clips, CLIPS.values())):
        body += chart(clip, words, LEFT + n % 2 * (WIDE + GAP), TOP + n // 2 * (HIGH + 56))
    width, height = LEFT + 2 * WIDE + GAP + 12, TOP + (len(clips) + 1) // 2 * (HIGH + 56) + 8
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
           "<style>.t{font-weight:bold;fill:#222}.v{font-weight:bold;text-anchor:end}.s{text-anchor:end;fill:#777;font-size:9px}"
           ".n{fill:#444}.box{fill:#fff;stroke:#bbb}.cut{fill:#c62828;opacity:.15}.f{fill:none;stroke:#1565c0;stroke-width:1.8}"
           ".b{fill:none;stroke:#999;stroke-width:1.2}</style>",
           f'<rect width="{width}" height="{height}" fill="#fafafa"/>', *body,
           f'<text x="{LEFT}" y="{height - 8}" class="n">blue: SSIM of each frame and the first · grey: of each frame and the one'
           ' before · red: what the best cut drops</text>', "</svg>"]
    (HERE / "verdict-curves.svg").write_text("\n".join(svg) + "\n")


if __name__ == "__main__":
    main()
