"""Turns results into one Markdown table and one picture, and puts them where the document has its markers."""

import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

from programs import ROOT, Failure

DIALECT_NOTE = "`case-id` answers no batches, so it is bounded by its socket alone, not by a window."


def machine(folder, programs):
    """What the figures were measured on and with: facts, no names."""
    git = lambda *words: subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    changed = " with changes not committed" if git("status", "--porcelain", "--untracked-files=no") else ""
    redis = subprocess.run([programs.redis, "--version"], capture_output=True, text=True).stdout if programs.redis else ""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": processor(),
        "kernel": platform.release().partition("-")[0],
        "filesystem": filesystem(folder),
        "fdatasync_us": fdatasync_us(folder),
        "commit": git("rev-parse", "--short", "HEAD") + changed,
        "redis": redis.split("v=")[1].split()[0] if "v=" in redis else None,
        "data": "the course's bets" if "shared" in str(programs.data) else "the bets of `.data`",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "command": command(),
    }


def command():
    words = [word for word in sys.argv[1:] if word != "--write" and not word.startswith("--dir")]
    name = next((f"make bench-{job}" for job in ("size", "cluster") if job in words), "make bench")
    words = [word for word in words if word not in ("compare", "size", "cluster")]
    return f'{name} BENCH_FLAGS="{" ".join(words)}"' if words else name


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", maxsplit=1)[1].strip()
    return platform.machine()


def filesystem(folder):
    """The type of the file system that holds `folder`."""
    mounts = [line.split()[1:3] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
    here = str(folder.resolve())
    holding = [(point, kind) for point, kind in mounts if here == point or here.startswith(point.rstrip("/") + "/")]
    return max(holding, key=lambda mount: len(mount[0]))[1] if holding else "unknown"


def fdatasync_us(folder):
    """Median time of an fdatasync after an append of 4 KiB: what one lockstep answer cannot do without."""
    path, times = folder / "fdatasync", []
    with open(path, "wb", buffering=0) as file:
        for _ in range(50):
            file.write(bytes(4096))
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - started)
    path.unlink()
    return round(statistics.median(times) * 1e6)


def provenance(machine, how):
    """Where the figures come from, and how they were made."""
    redis = f", Redis {machine['redis']}" if machine["redis"] else ""
    return (
        f"Measured {machine['date']} at commit {machine['commit']} by `{machine['command']}`: {machine['cores']} cores "
        f"({machine['processor']}), Linux {machine['kernel']}, {machine['filesystem']} with an fdatasync of "
        f"{machine['fdatasync_us']:,} µs{redis}; {machine['data']} in batches of 150. {how}\n"
    )


def comparison_section(machine, results, held):
    """Markdown, and the picture."""
    how = (
        "Medians of alternating runs, the range of the pairs' ratios in parentheses. "
        "The ratios are the result; the rates are for orientation."
    )
    lines = [
        provenance(machine, how),
        "![Ratios of the hub's rate to the raw floor's, to binary's and to Redis'](performance.svg)\n",
        "| hub | compared with | goal | ratio | hub, M bets/s | other, M bets/s | hub CPU, ns a bet | p50, p99 of an answer, ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [comparison_row(result) for result in results]
    if any(result.comparison.key == "case-id" for result in results):
        lines.append("\n" + DIALECT_NOTE)
    facts = single_figures(results, held)
    if facts:
        lines += ["", "| cost | goal | measured |", "|---|---|---|", *facts]
    return "\n".join(lines) + "\n", {"performance.svg": picture(results)}


def comparison_row(result):
    c = result.comparison
    goal = "" if c.goal is None else f"{c.goal:.2f}" if c.goal < 2 else f"{c.goal:g}"
    low, high = min(result.ratios), max(result.ratios)
    latency = [result.figure("hub", name) for name in ("ack_p50_us", "ack_p99_us")]
    latency = ", ".join(f"{value / 1000:.2f}" for value in latency) if None not in latency else "–"
    rates = [result.figure(side, "million_bets_per_second") for side in ("hub", "against")]
    cpu = result.figure("hub", "server_cpu_ns_per_bet")
    cells = [
        c.what, c.other, goal, f"**{result.median():.2f}** ({low:.2f}–{high:.2f})", *(f"{rate:.2f}" for rate in rates),
        f"{cpu:.0f}", latency,
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def single_figures(results, held):
    """The goals that are no ratio of two rates."""
    rows = []
    for result in results:
        if result.comparison.key == "window":
            cpu, load = (result.figure("hub", name) for name in ("server_cpu_ns_per_bet", "load_cpu_ns_per_bet"))
            what = "hub CPU a bet, `binary`, 64 in flight, no fsync"
            rows.append(f"| {what} | at most 45 ns | {cpu:.1f} ns |")
            rows.append(f"| the generator's own CPU a bet, beside it | | {load:.1f} ns |")
    if held:
        kept, idle = held
        ratio = kept["large_kib"] / kept["small_kib"]
        what = f"peak memory after {kept['large']:,} bets, over {kept['small']:,}"
        rows.append(f"| {what} | at most 1.05 | {ratio:.2f} ({kept['small_kib']:,} KiB, {kept['large_kib']:,} KiB) |")
        what = f"an idle connection of {idle['connections']:,}, resident memory"
        rows.append(f"| {what} | at most 256 bytes | {idle['bytes']:.0f} bytes |")
    return rows


def size_section(machine, found):
    """Markdown; the sizes have no picture."""
    machine = {**machine, "redis": None}
    lines = [provenance(machine, "Medians of up to three runs; the rates are for orientation.")]
    for key, title in [("bets", "bets, one connection, 64 in flight"), ("connections", "connections in lockstep")]:
        lines += [
            f"| {title} | fsync | M bets/s | hub CPU, ns a bet | p50, p99 of an answer, ms | peak memory, KiB |",
            "|---|---|---|---|---|---|",
        ]
        for row in found[key]:
            fsync = "always" if row["sync"] else "never"
            latency = f"{row['ack_p50_us'] / 1000:.2f}, {row['ack_p99_us'] / 1000:.2f}"
            # Processor time comes in hundredths of a second: of a shorter run it says nothing.
            cpu = f"{row['server_cpu_ns_per_bet']:.0f}" if row["seconds"] > 0.1 else "–"
            rate, peak = f"{row['million_bets_per_second']:.2f}", f"{row['server_peak_kib']:,.0f}"
            lines.append(f"| {row['size']:,} | {fsync} | {rate} | {cpu} | {latency} | {peak} |")
        lines.append("")
    return "\n".join(lines), {}


def cluster_section(machine, postgres, results, nats=None):
    """Markdown for hubs that share a PostgreSQL, and where it was measured for JetStream."""
    machine = {**machine, "redis": None}
    engines = f"PostgreSQL {postgres}" + (f", three of nats-server {nats}" if nats else "")
    how = (
        f"Three nodes of {engines}, hubs and generator share the machine; `native`. Medians of {len(results[0].ratios)} alternating "
        "runs, in parentheses their range, and for ratios that of the pairs. Each agency has 64 batches in flight, or one in lockstep."
    )
    lines = [
        provenance(machine, how),
        "| hubs over PostgreSQL | compared with | goal | ratio | M bets/s | other, M bets/s | p50, p99 of an answer, ms "
        "| hubs' CPU, ns a bet | other's | nodes' CPU, ns a bet | batches a turn |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [cluster_row(result) for result in results]
    return "\n".join(lines) + "\n"


def cluster_row(result):
    pair = result.pair
    middle = lambda side, name: statistics.median(result.values(side, name))
    ranged = lambda side, name: f"{middle(side, name):.2f} ({min(result.values(side, name)):.2f}–{max(result.values(side, name)):.2f})"
    cells = [
        pair.what, pair.other, ", ".join(goal.text() for goal in pair.goals), ranged("hub", "ratio"),
        f"**{ranged('hub', 'million_bets_per_second')}**", ranged("against", "million_bets_per_second"),
        f"{middle('hub', 'ack_p50_us') / 1000:.2f}, {middle('hub', 'ack_p99_us') / 1000:.2f}",
        f"{middle('hub', 'server_cpu_ns_per_bet'):.0f}", f"{middle('against', 'server_cpu_ns_per_bet'):.0f}",
        f"{middle('hub', 'nodes_cpu_ns_per_bet'):,.0f}", f"{middle('hub', 'batches_per_turn'):.1f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def write(folder, name, text, pictures):
    """Replaces what stands between the markers of `name`, and writes the pictures beside the document."""
    document = folder / "PERFORMANCE.md"
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = document.read_text().partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise Failure(f"{document}: the lines {begin} and {end} are missing; put them where the table belongs")
    document.write_text(f"{before}{begin}\n{text.rstrip()}\n{end}{after}")
    for file, drawing in pictures.items():
        (folder / file).write_text(drawing)


# The picture: a bar a comparison, its range as a thin line, its goal as a mark. Two scales, one above the other.

WIDTH, LABELS, BAR, GAP, HEAD = 860, 400, 16, 10, 44
STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #24292f } .head { font-weight: 600 } .small { font-size: 11px }
.bar { fill: #2f6fad } .range { stroke: #0b1f33; stroke-width: 1.5 } .goal { stroke: #c0392b; stroke-width: 2 }
.grid { stroke: #d0d7de }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .bar { fill: #4f94d4 } .range { stroke: #e6edf3 } .grid { stroke: #3d444d }
}
</style>"""


def picture(results):
    panels = [("share", "Share of the other's rate (1: as fast; red: what is asked for; line: all pairs)"), ("times", "Times Redis' rate")]
    parts, top = [], 8
    for panel, title in panels:
        rows = [result for result in results if result.comparison.panel == panel]
        if rows:
            drawn, top = draw_panel(title, rows, top)
            parts += drawn
    size = f'viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">', STYLE, *parts, "</svg>"]) + "\n"


def draw_panel(title, rows, top):
    most = max([max(row.ratios) for row in rows] + [row.comparison.goal or 0 for row in rows] + [1]) * 1.05
    scale = lambda value: LABELS + value / most * (WIDTH - LABELS - 60)
    bottom = top + HEAD + len(rows) * (BAR + GAP)
    parts = [f'<text class="head" x="8" y="{top + 14}">{title}</text>']
    step = next(step for step in (0.25, 0.5, 1, 2, 5, 10, 20, 50, 100, 1000) if most / step <= 8)
    for place in range(int(most / step) + 1):
        x = scale(place * step)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{top + HEAD - 8}" x2="{x:.1f}" y2="{bottom - GAP + 4}"/>')
        parts.append(f'<text class="small" x="{x:.1f}" y="{top + HEAD - 12}" text-anchor="middle">{place * step:g}</text>')
    for index, row in enumerate(rows):
        parts += draw_bar(row, scale, top + HEAD + index * (BAR + GAP))
    return parts, bottom + 8


def draw_bar(row, scale, y):
    c, middle = row.comparison, y + BAR / 2
    label = f"{c.what}, of {c.other}".replace("`", "").replace("&", "&amp;").replace("<", "&lt;")
    low, high, value = scale(min(row.ratios)), scale(max(row.ratios)), row.median()
    parts = [
        f'<text x="{LABELS - 10}" y="{middle + 4.5}" text-anchor="end">{label}</text>',
        f'<rect class="bar" x="{scale(0):.1f}" y="{y}" width="{scale(value) - scale(0):.1f}" height="{BAR}" rx="2"/>',
        f'<line class="range" x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}"/>',
        f'<text class="small" x="{max(high, scale(value)) + 6:.1f}" y="{middle + 4}">{value:.2f}</text>',
    ]
    if c.goal is not None:
        x = scale(c.goal)
        parts.append(f'<line class="goal" x1="{x:.1f}" y1="{y - 2}" x2="{x:.1f}" y2="{y + BAR + 2}"/>')
    return parts
