"""Charts as SVG, written by hand: lines over a logarithmic axis of positive numbers, a panel beneath the other.

Text in a file that any browser shows is all that is needed; a library to draw with would be one more thing to install.
"""
import html
import math

WIDTH, HEIGHT = 720, 300             # of a panel
LEFT, RIGHT, TOP, BOTTOM = 80, 180, 40, 50
COLOURS = ("#1b6ca8", "#c8553d", "#588157", "#8a5a9e", "#b08900", "#444444", "#2a9d8f", "#d1495b")


def short(value):
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def ticks(highest):
    """Some round numbers from 0 to above the highest."""
    step = 10 ** math.floor(math.log10(highest)) if highest > 0 else 1
    step = next(size for size in (step / 5, step / 2, step, 2 * step) if highest / size <= 6)
    return [number * step for number in range(math.ceil(highest / step) + 1)]


def is_round(value):
    """1, 2, 5, 10, 20, ...: what is written below a line of many points."""
    return value > 0 and value / 10 ** math.floor(math.log10(value)) in (1, 2, 5)


def text(x, y, words, anchor="middle", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{html.escape(words)}</text>'


class Panel:
    """lines: name → {x: y}. 0 of x stands one place left of the smallest other."""

    def __init__(self, title, across, lines, top):
        self.title, self.across, self.lines, self.top = title, across, lines, top
        places = sorted({x for line in lines.values() for x in line})
        positive = [x for x in places if x > 0] or [1]
        self.places = places
        self.low = positive[0] / 10 if 0 in places else positive[0]
        self.high = max(positive[-1], self.low * 1.01)
        self.scale = ticks(max((y for line in lines.values() for y in line.values()), default=1) or 1)

    def x(self, value):
        value = max(value, self.low)
        share = (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value):
        return self.top + HEIGHT - BOTTOM - value / self.scale[-1] * (HEIGHT - TOP - BOTTOM)

    def frame(self):
        yield text(LEFT, self.top + 22, self.title, "start", ' font-weight="bold"')
        for tick in self.scale:
            yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{self.y(tick):.1f}" y2="{self.y(tick):.1f}" stroke="#ddd"/>'
            yield text(LEFT - 8, self.y(tick) + 4, short(tick), "end")
        for place in self.places if len(self.places) <= 10 else filter(is_round, self.places):
            yield text(self.x(place), self.top + HEIGHT - BOTTOM + 18, short(place))
        yield text((LEFT + WIDTH - RIGHT) / 2, self.top + HEIGHT - 10, self.across)

    def curves(self):
        for number, (name, line) in enumerate(self.lines.items()):
            colour = COLOURS[number % len(COLOURS)]
            points = [(self.x(x), self.y(y)) for x, y in sorted(line.items())]
            yield (f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="'
                   + " ".join(f"{x:.1f},{y:.1f}" for x, y in points) + '"/>')
            yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points)
            yield text(WIDTH - RIGHT + 12, self.top + TOP + 18 * number, name, "start", f' fill="{colour}"')


def draw(panels):
    """panels: [(title, what goes across, {name: {x: y}})] → the SVG's text."""
    body = []
    for number, (title, across, lines) in enumerate(panels):
        panel = Panel(title, across, lines, number * HEIGHT)
        body += [*panel.frame(), *panel.curves()]
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT * len(panels)}" '
            'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n'
            + "\n".join(body) + "\n</svg>\n")


def panels_of(results):
    """What of the suites' results can be drawn."""
    drains, submits, rows = {}, {}, {}
    for name, result in results.items():
        drain = result.get("drain", {})
        if drain.get("payload") == 256 and "bare_by_batch" in drain:
            drains[f"{name}, bare loop"] = drain["bare_by_batch"]
            drains[f"{name}, skep"] = dict.fromkeys(drain["bare_by_batch"], drain["ours"]["rate"])
        if "by_batch" in result:
            submits[f"{name}, skep"] = {batch: rates["skep"] for batch, rates in result["by_batch"].items()}
            submits[f"{name}, bare insert"] = {batch: rates["bare"] for batch, rates in result["by_batch"].items()}
        if "by_rows" in drain:
            rows[name] = drain["by_rows"]
    made = (("jobs drained a second against the bare loop's batch (skep chooses its own)", "jobs in a batch", drains),
            ("jobs submitted a second against the batch", "jobs in a batch", submits),
            ("jobs drained a second against rows in the ledger", "finished rows", rows))
    return [panel for panel in made if panel[2]]
