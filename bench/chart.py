"""Charts as SVG, written by hand: lines over an axis of numbers, a panel beneath the other, on a light or a dark ground as the
reader's browser says.

Text in a file that any browser shows is all that is needed; a library to draw with would be one more thing to install.
"""
import html
import math

WIDTH, HEIGHT = 720, 300             # of a panel
LEFT, RIGHT, TOP, BOTTOM = 70, 180, 44, 56
# Each of them is told from white and from near black.
COLOURS = ("#2f81c7", "#d2603f", "#4d9448", "#9a68bd", "#a8821a", "#20938c", "#c9518a", "#7c8186")
BARE = "bare"
LABEL = 34                           # a number below the axis has so much room


def short(value):
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
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


def stroke(x1, y1, x2, y2, more):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"{more}/>'


class Panel:
    """lines: name → {x: y}. Of names that begin alike up to a comma the lines have one colour, and what is said to be a
    bare loop's is dashed. x goes up by factors, where 0 stands one place left of the smallest other; or `linear`ly."""

    def __init__(self, title, across, lines, linear=False):
        self.title, self.across, self.lines, self.linear, self.top = title, across, lines, linear, 0
        self.places = sorted({x for line in lines.values() for x in line})
        positive = [x for x in self.places if x > 0] or [1]
        self.low = 0 if linear else positive[0] / 10 if 0 in self.places else positive[0]
        self.high = max(positive[-1], self.low * 1.01)
        self.scale = ticks(max((y for line in lines.values() for y in line.values()), default=1) or 1)

    def x(self, value):
        if self.linear:
            share = value / self.high
        else:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value):
        return self.top + HEIGHT - BOTTOM - value / self.scale[-1] * (HEIGHT - TOP - BOTTOM)

    def labels(self):
        """(x, words) below the axis, none so near to the one before it that they touch."""
        places = ticks(self.high) if self.linear else self.places
        places = places if len(places) <= 10 else filter(is_round, places)
        last = -LABEL
        for place in places:
            if self.x(place) <= WIDTH - RIGHT and self.x(place) - last >= LABEL:
                last = self.x(place)
                yield last, short(place)

    def frame(self):
        floor = self.top + HEIGHT - BOTTOM
        yield text(LEFT, self.top + 22, self.title, "start", ' font-weight="bold"')
        for tick in self.scale:
            yield stroke(LEFT, self.y(tick), WIDTH - RIGHT, self.y(tick), ' class="grid"')
            yield text(LEFT - 8, self.y(tick) + 4, short(tick), "end")
        for x, words in self.labels():
            yield stroke(x, floor, x, floor + 4, ' class="axis"')
            yield text(x, floor + 18, words)
        yield stroke(LEFT, floor, WIDTH - RIGHT, floor, ' class="axis"')
        yield text((LEFT + WIDTH - RIGHT) / 2, floor + 38, self.across)

    def curve(self, line, colour, dashed):
        points = [(self.x(x), self.y(y)) for x, y in sorted(line.items())]
        more = ' stroke-dasharray="5 4"' if dashed else ""
        yield (f'<polyline fill="none" stroke="{colour}" stroke-width="2"{more} points="'
               + " ".join(f"{x:.1f},{y:.1f}" for x, y in points) + '"/>')
        if len(points) <= 20:
            yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points)

    def curves(self):
        colours = {}
        for name, line in self.lines.items():
            of, _, what = name.partition(", ")
            colour = colours.setdefault(of, COLOURS[len(colours) % len(COLOURS)])
            yield from self.curve(line, colour, what.startswith(BARE))
        yield from self.legend(colours)

    def legend(self, colours):
        left = WIDTH - RIGHT + 16
        for number, (name, colour) in enumerate(colours.items()):
            y = self.top + TOP + 18 * number
            yield stroke(left, y - 4, left + 18, y - 4, f' stroke="{colour}" stroke-width="4"')
            yield text(left + 26, y, name, "start")
        whats = dict.fromkeys(name.partition(", ")[2] for name in self.lines)
        for number, what in enumerate(word for word in whats if word):
            y = self.top + TOP + 18 * (len(colours) + number) + 8
            dashes = ' stroke-dasharray="5 4"' if what.startswith(BARE) else ""
            yield stroke(left, y - 4, left + 18, y - 4, f' class="axis" stroke-width="2"{dashes}')
            yield text(left + 26, y, what, "start")


STYLE = """<style>
.paper { fill: #ffffff } text { fill: #24292e } .grid { stroke: #d8dce0 } .axis { stroke: #6a7178 }
@media (prefers-color-scheme: dark) {
.paper { fill: #16191d } text { fill: #d5d9dd } .grid { stroke: #363c43 } .axis { stroke: #98a0a8 } }
</style>"""


def draw(panels):
    """→ the SVG's text."""
    body = []
    for number, panel in enumerate(panels):
        panel.top = number * HEIGHT
        body += [*panel.frame(), *panel.curves()]
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT * len(panels)}" '
            f'viewBox="0 0 {WIDTH} {HEIGHT * len(panels)}" font-family="sans-serif" font-size="12">\n{STYLE}\n'
            '<rect class="paper" width="100%" height="100%"/>\n' + "\n".join(body) + "\n</svg>\n")


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
    return [Panel(*words) for words in made if words[2]]
