"""A place for each node of a directed acyclic graph: layers from top to bottom, few crossings.

Mechanism (the four steps of Sugiyama, Tagawa and Toda, 1981):
  1. layers    a node stands one layer above the topmost of its consumers, so that a leaf is drawn
               next to the op that uses it;
  2. dummies   an edge across several layers passes through a dummy, a node of no size, in each;
  3. order     the nodes of a layer are sorted by the mean place of their neighbours, sweeping down
               and up; the order with the fewest crossings is kept;
  4. places    x minimises the sum of weight * (x_u - x_v)**2 over the edges, subject to the order
               and to the distance between neighbours. With the other layers fixed that is an
               isotonic regression of one layer, solved exactly; sweeping solves the whole.

Invariants.  Knows numbers only: sizes in, coordinates out. The same graph always gives the same
layout. One sweep costs about linear time in nodes and dummies.
"""

from bisect import bisect_right, insort
from dataclasses import dataclass

GAP_X, GAP_Y = 26, 40
ORDER_SWEEPS, PLACE_SWEEPS = 16, 40


@dataclass
class Layout:
    """Where everything stands.

    `centers[i]` is the (x, y) of node i. `routes[e]` lists the (x, top, bottom) of the layers that
    edge e passes through between its ends, from source to target. `width` and `height` are the
    whole's; x runs from 0 to width, y from 0 downwards.
    """

    centers: list
    routes: list
    width: float
    height: float


def layers_of(count, edges):
    """The layer of each node, 0 at the top."""
    consumers, producers = [[] for _ in range(count)], [[] for _ in range(count)]
    for source, target in edges:
        consumers[source].append(target)
        producers[target].append(source)
    waiting = [len(c) for c in consumers]
    height = [0] * count
    ready = [i for i in range(count) if not waiting[i]]
    for node in ready:  # grows while it is read: a node follows all its consumers
        height[node] = max([height[c] + 1 for c in consumers[node]], default=0)
        for producer in producers[node]:
            waiting[producer] -= 1
            if not waiting[producer]:
                ready.append(producer)
    top = max(height, default=0)
    return [top - h for h in height]


class _Grid:
    """Nodes and dummies in rows, one row a layer, with the neighbours of each above and below."""

    def __init__(self, count, edges):
        self.layer = layers_of(count, edges)
        self.above = [[] for _ in range(count)]
        self.below = [[] for _ in range(count)]
        self.chains = [self._chain(source, target) for source, target in edges]
        self.rows = self._first_order(count)

    def _chain(self, source, target):
        """Link source and target by a dummy in every layer between; return the dummies."""
        chain, previous = [], source
        for layer in range(self.layer[source] + 1, self.layer[target]):
            dummy = len(self.layer)
            self.layer.append(layer)
            self.above.append([])
            self.below.append([])
            self._link(previous, dummy)
            chain.append(dummy)
            previous = dummy
        self._link(previous, target)
        return chain

    def _link(self, upper, lower):
        self.below[upper].append(lower)
        self.above[lower].append(upper)

    def _first_order(self, count):
        """Depth first from the sinks upwards: a tree comes out with no crossing at all."""
        rows = [[] for _ in range(max(self.layer, default=-1) + 1)]
        seen = set()
        stack = [i for i in range(count) if not self.below[i]][::-1]
        while stack:
            node = stack.pop()
            if node not in seen:
                seen.add(node)
                rows[self.layer[node]].append(node)
                stack.extend(reversed(self.above[node]))
        return rows

    def crossings(self):
        """How many pairs of edges cross: inversions of their lower ends, read by the upper ones."""
        place = {node: i for row in self.rows for i, node in enumerate(row)}
        total = 0
        for row in self.rows:
            ends = []
            for node in row:
                lower = [place[n] for n in self.below[node]]
                total += sum([len(ends) - bisect_right(ends, end) for end in lower])
                for end in lower:
                    insort(ends, end)
        return total

    def sort_rows(self):
        """Step 3: leave in `rows` the best order that the sweeps came by."""
        best, least = [list(row) for row in self.rows], self.crossings()
        place = {node: i for row in self.rows for i, node in enumerate(row)}
        for sweep in range(ORDER_SWEEPS):
            if not least:
                break
            down = sweep % 2 == 0
            neighbours = self.above if down else self.below
            for row in self.rows if down else self.rows[::-1]:
                wish = {n: _mean([place[m] for m in neighbours[n]], place[n]) for n in row}
                row.sort(key=wish.__getitem__)
                place.update({n: i for i, n in enumerate(row)})
            now = self.crossings()
            if now < least:
                best, least = [list(row) for row in self.rows], now
        self.rows = best


def _mean(values, default):
    return sum(values) / len(values) if values else default


def spread(wishes, weights, widths):
    """The x nearest to `wishes` (weighted least squares) that keep order and distance.

    With the distances subtracted it is the isotonic regression of the wishes: neighbours that would
    pass one another are pooled at their mean (Ayer et al., 1955).
    """
    offsets, pools = [0.0], []
    for i in range(1, len(widths)):
        offsets.append(offsets[-1] + (widths[i - 1] + widths[i]) / 2 + GAP_X)
    for wish, weight, offset in zip(wishes, weights, offsets):
        value, size = wish - offset, 1
        while pools and pools[-1][0] >= value:
            other, other_weight, other_size = pools.pop()
            value = (value * weight + other * other_weight) / (weight + other_weight)
            weight, size = weight + other_weight, size + other_size
        pools.append((value, weight, size))
    flat = [value for value, _, size in pools for _ in range(size)]
    return [value + offset for value, offset in zip(flat, offsets)]


def _place_rows(grid, widths, count):
    """Step 4: x of every node and dummy."""
    x = [0.0] * len(grid.layer)
    for row in grid.rows:
        ones = [1.0] * len(row)
        for n, value in zip(row, spread([0.0] * len(row), ones, [widths[m] for m in row])):
            x[n] = value

    def stiffness(n, m):
        # Long edges are kept straight: the more of its two ends are dummies, the stiffer.
        return (1, 3, 9)[(n >= count) + (m >= count)]

    for sweep in range(PLACE_SWEEPS):
        for row in grid.rows if sweep % 2 else grid.rows[::-1]:
            wishes, weights = [], []
            for n in row:
                pulls = [(stiffness(n, m), x[m]) for m in grid.above[n] + grid.below[n]]
                weights.append(sum([w for w, _ in pulls]) or 1e-3)
                wishes.append(sum([w * at for w, at in pulls]) / weights[-1] if pulls else x[n])
            for n, value in zip(row, spread(wishes, weights, [widths[n] for n in row])):
                x[n] = value
    return x


def _straighten(grid, x, widths):
    """Stand each chain of dummies upright at its mean, if there is room in all its rows."""
    place = {node: i for row in grid.rows for i, node in enumerate(row)}
    for chain in grid.chains:
        low, high = float("-inf"), float("inf")
        for dummy in chain:
            row, i = grid.rows[grid.layer[dummy]], place[dummy]
            if i:
                low = max(low, x[row[i - 1]] + widths[row[i - 1]] / 2 + GAP_X)
            if i + 1 < len(row):
                high = min(high, x[row[i + 1]] - widths[row[i + 1]] / 2 - GAP_X)
        if chain and low <= high:
            upright = min(max(sum([x[d] for d in chain]) / len(chain), low), high)
            for dummy in chain:
                x[dummy] = upright


def layout(sizes, edges, margin=20):
    """`sizes[i]` = (width, height) of node i and `edges` = [(source, target)] -> Layout."""
    count = len(sizes)
    grid = _Grid(count, edges)
    grid.sort_rows()
    widths = [w for w, _ in sizes] + [0] * (len(grid.layer) - count)
    x = _place_rows(grid, widths, count)
    _straighten(grid, x, widths)
    left = min([at - w / 2 for at, w in zip(x, widths)], default=0) - margin
    x = [at - left for at in x]
    y, top = [], margin
    for row in grid.rows:
        tall = max([sizes[n][1] for n in row if n < count], default=0)
        y.append((top, top + tall))
        top += tall + GAP_Y
    centers = [(x[i], sum(y[grid.layer[i]]) / 2) for i in range(count)]
    routes = [[(x[d], *y[grid.layer[d]]) for d in chain] for chain in grid.chains]
    right = max([at + w / 2 for at, w in zip(x, widths)], default=0) + margin
    return Layout(centers, routes, right, top - GAP_Y + margin)
