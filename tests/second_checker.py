"""A second checker, written from SPEC.md alone: rational numbers, no rounding, no numpy, no line of the first one.

Slow, and it knows no rounding: it says what a certificate proves in exact arithmetic. Eigenvalues and logarithms come
from mpmath with 50 digits. So it accepts a little more than a checker may that counts rounding against the claim:
the two must agree wherever a claim is not within about 1e-9 of what is proved.
"""

import hashlib
import json
import struct
from fractions import Fraction
from itertools import pairwise
from math import isfinite

import mpmath

EVIDENCE = {"z", "t", "directions", "tree", "groups", "paired", "w", "c", "nu", "r", "level"}
OF_SIMPLICES = {"z", "t", "basis", "plus", "minus", "level"}
OF_OUTPUTS = {"z", "t", "groups", "paired", "nu", "r", "level"}
SLOPES = {"factor", "eta", "tilt"}
BALL = {"span", "ball"}
LIFT = {"centre", "reach", "spread"}
LEANING = SLOPES | {"lean"}
POOLING = {"pool_sizes", "pool_rows", "pool_weights"}
LARGEST = 2**256
PARAMETER = {"huber": "delta", "quantile": "tau"}
NAMES = ("squared", "huber", "absolute", "quantile", "hinge", "squared_hinge", "logistic", "cross_entropy")


class No(Exception):
    """Why a certificate is refused."""


def must(condition, reason):
    if not condition:
        raise No(reason)


def reason_to_refuse(raw, X, y):
    """None if every claim of the bytes follows for X (rows), y (numbers, or rows of several outputs)."""
    try:
        File(raw).check(X, y)
    except No as reason:
        return str(reason)
    return None


# -- section 2 ---------------------------------------------------------------------------------------------------------


def objects(pairs):
    must(len({key for key, _ in pairs}) == len(pairs), "a key twice")
    return dict(pairs)


def number(text):
    value = float(text)
    must(isfinite(value), "a number overflows")
    return value


def whole(text):
    number(text)
    return int(text)


def read_json(text):
    try:
        return json.loads(text, object_pairs_hook=objects, parse_float=number, parse_int=whole, parse_constant=number)
    except (ValueError, RecursionError, OverflowError) as error:
        raise No("no JSON") from error


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_whole(value, low, high):
    return isinstance(value, int) and not isinstance(value, bool) and low <= value < high


class File:
    def __init__(self, raw):
        must(len(raw) >= 8, "short")
        (size,) = struct.unpack("<Q", raw[:8])
        must(size <= 2**22 and 8 + size <= len(raw), "header size")
        header = read_json(raw[8 : 8 + size])
        must(isinstance(header, dict), "header")
        meta = header.pop("__metadata__", None)
        must(isinstance(meta, dict) and set(meta) == {"certificate"}, "metadata")
        must(isinstance(meta["certificate"], str), "metadata text")
        self.tensors = {}
        self.payload = raw[8 + size :]
        covered = []
        for name, entry in header.items():
            self.read_tensor(name, entry, covered)
        end = 0
        for first, last in sorted(covered):
            must(first == end, "a gap or an overlap")
            end = last
        must(end == len(self.payload), "bytes after the tensors")
        self.document(read_json(meta["certificate"]))

    def read_tensor(self, name, entry, covered):
        names = (
            EVIDENCE | LEANING | BALL | OF_SIMPLICES | LIFT | {"U", "alpha", "intercept", "weights"} | POOLING | {"v"}
        )
        must(name in names, "unknown tensor")
        must(isinstance(entry, dict), "entry")
        kind, shape, ends = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
        whole = {"tree": "I64", "groups": "I64", "paired": "I64", "plus": "U8", "minus": "U8"}
        whole |= {"pool_sizes": "I64", "pool_rows": "I64"}
        must(kind == whole.get(name, "F64"), "type")
        must(isinstance(shape, list) and len(shape) <= 3 and all(is_whole(k, 0, 2**40) for k in shape), "shape")
        must(isinstance(ends, list) and len(ends) == 2 and all(is_whole(k, 0, 2**60) for k in ends), "offsets")
        count = 1
        for k in shape:
            count *= k
        width = 1 if kind == "U8" else 8
        must(ends[1] - ends[0] == width * count and ends[1] <= len(self.payload), "length")
        covered.append(tuple(ends))
        letter = {"U8": "B", "I64": "q", "F64": "d"}[kind]
        flat = struct.unpack(f"<{count}{letter}", self.payload[ends[0] : ends[1]])
        if kind == "F64":
            must(all(isfinite(v) and abs(v) <= LARGEST for v in flat), "domain")
            flat = [Fraction(v) for v in flat]
        self.tensors[name] = (tuple(shape), list(flat))

    def document(self, content):
        must(isinstance(content, dict), "certificate")
        keys = {"format", "version", "problem", "evidence", "claims", "about"}
        must(set(content) == keys, "keys")
        must(content["format"] == "reluopt-certificate", "format")
        must(is_whole(content["version"], 3, 6), "version")
        extra = {4: "biases", 5: "rows"}.get(content["version"])
        self.problem(content["problem"], extra == "biases", {extra} - {None})
        claims = content["claims"]
        must(isinstance(claims, dict) and claims, "claims")
        must(set(claims) <= {"objective_at_most", "optimum_at_least", "ratio_at_most"}, "claims")
        must(all(is_number(v) and v >= 0 for v in claims.values()), "claims")
        self.claims = {name: Fraction(float(v)) for name, v in claims.items()}
        lower = "optimum_at_least" in claims or "ratio_at_most" in claims
        upper = "objective_at_most" in claims or "ratio_at_most" in claims
        kinds = {"regions": EVIDENCE, "simplices": OF_SIMPLICES} if self.C == 1 else {"outputs": OF_OUTPUTS}
        kind = content["evidence"]
        must((isinstance(kind, str) and kind in kinds) if lower else kind is None, "evidence")
        needed = kinds[kind] if lower else set()
        wanted = (needed if lower else set()) | ({"U", "alpha"} if upper else set())
        wanted |= {"weights"} if self.weighted else set()
        wanted |= (POOLING | ({"v"} if lower else set())) if self.N else set()
        wanted |= {"intercept"} if upper and self.output != "none" else set()
        if self.first == "free":
            must(kind != "simplices", "simplices")
            wanted |= LIFT if lower else set()
        for optional in (LEANING if self.first == "free" else SLOPES, BALL):
            wanted |= optional if kind == "regions" and optional & set(self.tensors) else set()
        must(set(self.tensors) == wanted, "tensors")

    def problem(self, p, with_biases, more):
        must(isinstance(p, dict), "problem")
        keys = {"n", "d", "outputs", "fingerprint", "loss", "weights", "beta"} | more
        must(set(p) == keys, "problem")
        biases = p.get("biases", {"output": "none", "first": "none"})
        must(isinstance(biases, dict) and set(biases) == {"output", "first"}, "biases")
        self.output, self.first = biases["output"], biases["first"]
        must(self.output in ("none", "free", "decayed") and self.first in ("none", "free"), "biases")
        must(not with_biases or (self.output, self.first) != ("none", "none"), "no biases")
        must(is_whole(p["n"], 1, 2**40) and is_whole(p["d"], 1, 2**40) and is_whole(p["outputs"], 1, 2**20), "sizes")
        digits = p["fingerprint"]
        must(isinstance(digits, str) and len(digits) == 64 and set(digits) <= set("0123456789abcdef"), "fingerprint")
        must(isinstance(p["weights"], bool), "weights")
        must(is_number(p["beta"]) and p["beta"] > 0, "beta")
        loss = p["loss"]
        must(isinstance(loss, dict) and loss.get("name") in NAMES, "loss")
        self.loss, extra = loss["name"], PARAMETER.get(loss["name"])
        must(set(loss) == ({"name", extra} if extra else {"name"}), "loss")
        self.parameter = None
        if extra:
            must(is_number(loss[extra]), "parameter")
            self.parameter = Fraction(float(loss[extra]))
            must(
                self.parameter > 0 and (self.parameter < 1 if extra == "tau" else self.parameter <= LARGEST),
                "parameter",
            )
        self.C = p["outputs"]
        must(self.C > 1 or self.loss != "cross_entropy", "outputs")
        self.n, self.d, self.digits, self.weighted = p["n"], p["d"], digits, p["weights"]
        self.beta = Fraction(float(p["beta"]))
        self.N = p.get("rows", 0)
        must("rows" not in more or is_whole(self.N, 1, 2**40), "rows")

    def shaped(self, name, *shape):
        have, flat = self.tensors[name]
        must(have == shape, f"shape of {name}")
        return flat

    def rows(self, name, width):
        have, flat = self.tensors[name]
        must(len(have) == 2 and have[1] == width, f"shape of {name}")
        return [flat[k * width : (k + 1) * width] for k in range(have[0])]

    # -- sections 1, 4, 7 ----------------------------------------------------------------------------------------------

    def check(self, X, y):
        must(len(X) == (self.N or self.n) and len(X[0]) == self.d and len(y) == self.n, "other data")
        must(all(isinstance(row, list) == (self.C > 1) for row in y), "other data")
        y = y if self.C > 1 else [[v] for v in y]
        must(all(len(row) == self.C for row in y), "other data")
        kappa = self.shaped("weights", self.n) if self.weighted else [Fraction(1)] * self.n
        must(all(k >= 0 for k in kappa), "negative weight")
        hashed = struct.pack("<QQ", self.n, self.d) + (struct.pack("<Q", self.C) if self.C > 1 else b"")
        if self.N:
            hashed = struct.pack("<4Q", self.N, self.d, self.C, self.n)
        for row in [*X, *y, *([[float(k) for k in kappa]] if self.weighted else [])]:
            hashed += struct.pack(f"<{len(row)}d", *row)
        if self.N:
            sizes, rows, parts = self.read_map()
            hashed += struct.pack(f"<{len(sizes)}q", *sizes) + struct.pack(f"<{len(rows)}q", *rows)
            hashed += struct.pack(f"<{len(parts)}d", *map(float, parts))
        must(hashlib.sha256(hashed).hexdigest() == self.digits, "other data")
        must(all(abs(v) <= LARGEST for row in [*X, *y] for v in row), "domain of the data")
        if self.loss in ("hinge", "squared_hinge", "logistic"):
            must(all(v in (-1.0, 1.0) for row in y for v in row), "targets")
        if self.loss == "cross_entropy":
            must(all(sorted(row) == [0.0] * (self.C - 1) + [1.0] for row in y), "targets")
        must(self.first == "none" or (self.d > 1 and all(row[-1] == 1 for row in X)), "no column of ones")
        self.X, self.y = ([[Fraction(v) for v in row] for row in part] for part in (X, y))
        self.kappa = kappa
        upper = self.objective() if "U" in self.tensors else None
        lower = self.lower() if "z" in self.tensors else None
        claims = self.claims
        must("objective_at_most" not in claims or upper <= claims["objective_at_most"], "objective_at_most")
        must("optimum_at_least" not in claims or claims["optimum_at_least"] <= lower, "optimum_at_least")
        must("ratio_at_most" not in claims or upper <= claims["ratio_at_most"] * lower, "ratio_at_most")

    def objective(self):
        U = self.rows("U", self.d)
        flat = self.shaped("alpha", len(U), *self.row)
        c = self.shaped("intercept", self.C) if self.output != "none" else [Fraction(0)] * self.C
        paid = [v for u in U for v in (u[:-1] if self.first == "free" else u)] + flat
        total = self.beta / 2 * sum(v * v for v in [*paid, *(c if self.output == "decayed" else [])])
        fits = []
        for row in self.X:
            s = [max(dot(row, u), Fraction(0)) for u in U]
            fits.append([sum((v * a for v, a in zip(s, flat[k :: self.C], strict=True)), c[k]) for k in range(self.C)])
        if self.N:
            fits = [[sum((a * fits[r][k] for r, a in own), Fraction(0)) for k in range(self.C)] for own in self.A]
        for f, target, kappa in zip(fits, self.y, self.kappa, strict=True):
            total += kappa * self.value_of(f, target)
        return total

    # -- section 12 ----------------------------------------------------------------------------------------------------

    def read_map(self):
        """(sizes, rows, weights); A is kept as the list of (row, weight) of every sample."""
        sizes, parts = self.shaped("pool_sizes", self.n), self.tensors["pool_weights"][1]
        (shape, rows), at, self.A = self.tensors["pool_rows"], 0, []
        must(len(shape) == len(self.tensors["pool_weights"][0]) == 1, "shape of the map")
        must(all(1 <= p <= self.N for p in sizes) and sum(sizes) == len(rows) == len(parts), "sizes of the map")
        must(all(0 <= r < self.N for r in rows) and all(parts), "entries of the map")
        for p in sizes:
            own = list(zip(rows[at : at + p], parts[at : at + p], strict=True))
            must(len({r for r, _ in own}) == p, "a row twice")
            self.A.append(own)
            at += p
        return sizes, rows, parts

    def apart(self, z, v):
        """‖v − Aᵀz‖_F‖X‖_F."""
        left = [list(v[r * self.C : (r + 1) * self.C]) for r in range(self.N)]
        for i, own in enumerate(self.A):
            for r, a in own:
                left[r] = [b - a * c for b, c in zip(left[r], z[i], strict=True)]
        with mpmath.workdps(50):
            squares = (sum(b * b for row in part for b in row) for part in (left, self.X))
            return rational(mpmath.sqrt(real(next(squares))) * mpmath.sqrt(real(next(squares))))

    @property
    def row(self):
        return () if self.C == 1 else (self.C,)

    def value_of(self, f, y):
        if self.loss != "cross_entropy":
            return sum(self.value(a, b) for a, b in zip(f, y, strict=True))
        with mpmath.workdps(50):
            top = f[y.index(1)]
            return rational(mpmath.log(sum(mpmath.exp(real(v - top)) for v in f)))

    def dual_of(self, v, y, k):
        if self.loss != "cross_entropy":
            return sum(self.dual(a, b, k) for a, b in zip(v, y, strict=True))
        if k == 0:
            must(not any(v), "z of a sample of weight 0")
            return Fraction(0)
        p = [k * b - a for a, b in zip(v, y, strict=True)]
        must(sum(v) == 0 and min(p) >= 0, "domain of the dual")
        with mpmath.workdps(50):
            return rational(sum((-real(q) * mpmath.log(real(q / k)) for q in p if q > 0), mpmath.mpf(0)))

    def value(self, f, y):
        r, margin = abs(f - y), 1 - y * f
        match self.loss:
            case "squared":
                return r * r / 2
            case "huber":
                return r * r / 2 if r <= self.parameter else self.parameter * r - self.parameter**2 / 2
            case "absolute":
                return r
            case "quantile":
                return max(self.parameter * (y - f), (1 - self.parameter) * (f - y))
            case "hinge":
                return max(margin, Fraction(0))
            case "squared_hinge":
                return max(margin, Fraction(0)) ** 2 / 2
        with mpmath.workdps(50):
            return rational(mpmath.log1p(mpmath.exp(real(-y * f))))

    def dual(self, v, y, k):
        if k == 0:
            must(v == 0, "z of a sample of weight 0")
            return Fraction(0)
        p = y * v
        match self.loss:
            case "squared":
                return p - v * v / (2 * k)
            case "huber":
                must(abs(v) <= self.parameter * k, "domain of the dual")
                return p - v * v / (2 * k)
            case "absolute":
                must(abs(v) <= k, "domain of the dual")
                return p
            case "quantile":
                must((self.parameter - 1) * k <= v <= self.parameter * k, "domain of the dual")
                return p
            case "hinge":
                must(0 <= p <= k, "domain of the dual")
                return p
            case "squared_hinge":
                must(p >= 0, "domain of the dual")
                return p - v * v / (2 * k)
        must(0 <= p <= k, "domain of the dual")
        with mpmath.workdps(50):
            return rational(sum((-real(q) * mpmath.log(real(q / k)) for q in (p, k - p) if q > 0), mpmath.mpf(0)))

    def lower(self):
        flat = self.shaped("z", self.n, *self.row)
        z = [flat[i * self.C : (i + 1) * self.C] for i in range(self.n)]
        (t,) = self.shaped("t", 1)
        must(t >= 0, "t")
        if self.first == "free":
            self.lift()
        n, more, own = self.n, Fraction(0), z
        if self.N:
            flat = self.shaped("v", self.N, *self.row)
            own, self.n, more = (
                [flat[r * self.C : (r + 1) * self.C] for r in range(self.N)],
                self.N,
                self.apart(z, flat),
            )
        if "basis" in self.tensors:
            bound = self.support_of_simplices(flat)
        else:
            bound = self.support(flat) if self.C == 1 else self.support_of_outputs(own)
        bound, self.n = bound + more, n
        if bound > 0:
            t = min(t, self.beta / bound)
        rows, sums = zip(z, self.y, self.kappa, strict=True), [sum(v) for v in zip(*z, strict=True)]
        must((self.first, self.output) in (("none", "none"), ("none", "decayed")) or not any(sums), "sum of z")
        lost = t * t * sum(s * s for s in sums) / (2 * self.beta) if self.output == "decayed" else 0
        return -lost + sum((self.dual_of([t * a for a in v], y, k) for v, y, k in rows), Fraction(0))

    # -- section 11 ----------------------------------------------------------------------------------------------------

    def lift(self):
        """The rows (x − centre, reach) in the place of (x, 1)."""
        centre, (self.reach,) = self.shaped("centre", self.d - 1), self.shaped("reach", 1)
        moved = [[a - b for a, b in zip(row, centre, strict=False)] for row in self.X]
        must(self.reach >= 0 and all(dot(row, row) <= self.reach**2 for row in moved), "reach")
        self.X = [[*row, self.reach] for row in moved]
        must(self.C > 1 or self.tensors["directions"][0][0] == 0, "cuts")
        self.spread = self.shaped("spread", 2 if self.C == 1 else 1)
        must(all(v >= 0 for v in self.spread), "spread")

    def bounded(self, M, level, side=0):
        """2λ + 2‖E‖, or with free first-layer biases 2λ + 3‖E‖ for λ on the head, λ − μ on u, and μ on b."""
        if self.first == "none":
            return bound_of(M, [level] * len(M), level, 2)
        mu = self.spread[side]
        return bound_of(M, [level] * (len(M) - self.d) + [level - mu] * (self.d - 1) + [mu], level, 3)

    # -- section 10 ----------------------------------------------------------------------------------------------------

    def support_of_simplices(self, z):
        B, levels = self.rows("basis", self.d), self.shaped("level", 2)
        r = len(B)
        must(1 <= r <= 12 and all(abs(v) <= 1 for row in B for v in row), "basis")
        must(all(level >= 0 for level in levels), "level")
        A = [[dot(x, b) for b in B] for x in self.X]
        rest = [
            [x[k] - sum(a[j] * B[j][k] for j in range(r)) for k in range(self.d)]
            for x, a in zip(self.X, A, strict=True)
        ]
        gram = [[dot(a, b) - (i == j) for j, b in enumerate(B)] for i, a in enumerate(B)]
        worst = max(levels)
        for name, level, sign in (("plus", levels[0], 1), ("minus", levels[1], -1)):
            signed = [sign * v for v in z]
            for cone in self.cones(name, r):
                bound = cone_bound(A, signed, cone)
                worst = bound if bound > max(worst, level) else worst
        return (1 + root(square(gram))) * worst + root(dot(z, z)) * root(square(rest))

    def cones(self, name, r):
        have, nodes = self.tensors[name]
        must(len(have) == 1, "tree")
        pairs, nodes, found = [(i, j) for i in range(r) for j in range(i + 1, r)], list(nodes), []
        for orthant in range(2**r):
            todo = [[[(-1 if orthant >> k & 1 else 1) * (k == j) for j in range(r)] for k in range(r)]]
            while todo:
                cone = todo.pop()
                must(nodes, "tree cut off")
                node = nodes.pop(0)
                if node == 255:
                    must(all(sum(map(abs, v)) < 2**53 for v in cone), "large vertex")
                    found.append(cone)
                    continue
                must(node < len(pairs), "edge")
                i, j = pairs[node]
                new = [a + b for a, b in zip(cone[i], cone[j], strict=True)]
                todo += [
                    [new if k == j else v for k, v in enumerate(cone)],
                    [new if k == i else v for k, v in enumerate(cone)],
                ]
        must(not nodes, "bytes after the trees")
        return found

    # -- section 9 -----------------------------------------------------------------------------------------------------

    def support_of_outputs(self, z):
        (have, sizes), (shape, members) = self.tensors["groups"], self.tensors["paired"]
        must(len(have) == 1 and len(shape) == 1, "groups")
        must(all(0 <= p <= self.n for p in sizes) and sum(sizes) == len(members), "groups")
        must(all(0 <= s < self.n for s in members) and len(set(members)) == len(members), "paired")
        nu, (level,) = self.shaped("nu", self.n), self.shaped("level", 1)
        r, at, corner, size = self.shaped("r", sum((2 * p) ** 2 for p in sizes)), 0, 0, self.C + self.d
        must(level >= 0 and all(v >= 0 for v in r), "signs")
        M = [[Fraction(0)] * size for _ in range(size)]
        heads = [[*v, *[Fraction(0)] * self.d] for v in z]
        rows = [[*[Fraction(0)] * self.C, *x] for x in self.X]
        for i in set(range(self.n)) - set(members):
            must(nu[i] == 0 or nu[i] >= Fraction(1, LARGEST), "nu")
            must(nu[i] > 0 or not any(z[i]), "nu is 0")
            if nu[i] > 0:
                psi = [a + nu[i] * b for a, b in zip(heads[i], rows[i], strict=True)]
                add(M, 1 / (4 * nu[i]), psi, psi)
        for p in sizes:
            group, square = members[at : at + p], r[corner : corner + (2 * p) ** 2]
            must(all(a < b for a, b in pairwise(group)), "order in a group")
            lines = [square[a * 2 * p : (a + 1) * 2 * p] for a in range(2 * p)]
            self.eliminate(M, heads, [], [rows[s] for s in group], [nu[s] for s in group], group, lines)
            at, corner = at + p, corner + (2 * p) ** 2
        return self.bounded(M, level)

    # -- section 5 -----------------------------------------------------------------------------------------------------

    def paths(self, K):
        """Of every leaf its cuts with their signs; and of every leaf the one sign it is for, or None for both."""
        tree = self.rows("tree", 3)
        must(len(tree) % 2 == 1, "tree")
        paths, seen, owner = {}, set(), {}

        def visit(row, path, sign):
            must(0 <= row < len(tree) and row not in seen, "tree")
            seen.add(row)
            k, i, j = tree[row]
            if k == -1:
                must(j == -1 and i >= 0 and i not in paths, "leaf")
                paths[i], owner[i] = path, sign
                return
            must(i > row and j > row, "node")
            if row == 0 and k == -2:
                visit(i, [], 1)
                visit(j, [], -1)
                return
            must(0 <= k < K, "node")
            must(k not in [cut for cut, _ in path], "a direction twice")
            visit(i, [*path, (k, 1)], sign)
            visit(j, [*path, (k, -1)], sign)

        visit(0, [], None)
        must(len(seen) == len(tree) and sorted(paths) == list(range(len(paths))), "tree")
        leaves = range(len(paths))
        return [paths[leaf] for leaf in leaves], None if owner[0] is None else [owner[leaf] for leaf in leaves]

    def groups(self, leaves):
        table, (have, members) = self.rows("groups", 2), self.tensors["paired"]
        must(len(have) == 1 and all(0 <= s < self.n for s in members), "paired")
        must(all(0 <= leaf < leaves and 0 <= p <= self.n for leaf, p in table), "groups")
        must([leaf for leaf, _ in table] == sorted(leaf for leaf, _ in table), "order of groups")
        must(sum(p for _, p in table) == len(members), "paired")
        result, at = [[] for _ in range(leaves)], 0
        for leaf, p in table:
            group = members[at : at + p]
            must(all(a < b for a, b in pairwise(group)), "order in a group")
            result[leaf].append(group)
            at += p
        for own in result:
            together = [s for group in own for s in group]
            must(len(set(together)) == len(together), "a sample twice")
        return result

    # -- section 6 -----------------------------------------------------------------------------------------------------

    def support(self, z):
        directions = self.rows("directions", self.d)
        paths, owner = self.paths(len(directions))
        groups, L, self.S = self.groups(len(paths)), len(paths), 1 if owner else 2
        must(not owner or self.first != "free", "signs with free biases")
        widths = [1 + len(path) for path in paths]
        squares = [[(w + 2 * len(group)) ** 2 for group in own] for w, own in zip(widths, groups, strict=True)]
        forms, area = sum(widths), sum(map(sum, squares))
        w, c = (self.shaped(name, self.S, forms, self.n) for name in ("w", "c"))
        nu, r, level = (
            self.shaped("nu", self.S, L, self.n),
            self.shaped("r", self.S, area),
            self.shaped("level", self.S, L),
        )
        worst, n, slopes = Fraction(0), self.n, self.slopes(L)
        balls = self.balls([[w + 2 * len(group) for group in own] for w, own in zip(widths, groups, strict=True)])
        for side in range(self.S):
            first = corner = 0
            for leaf, path in enumerate(paths):
                sign = owner[leaf] if owner else 1 - 2 * side
                cuts = [[s * v for v in directions[k]] for k, s in path]
                own_w, own_c = (
                    [part[((side * forms) + first + f) * n :][:n] for f in range(widths[leaf])] for part in (w, c)
                )
                own_r = []
                for group, size in zip(groups[leaf], squares[leaf], strict=True):
                    width = widths[leaf] + 2 * len(group)
                    flat = r[side * area + corner :][:size]
                    own_r.append([flat[a * width : (a + 1) * width] for a in range(width)])
                    corner += size
                own_nu = nu[(side * L + leaf) * n :][:n]
                signed = [sign * v for v in z]
                numbers = own_w, own_c, own_nu, own_r, level[side * L + leaf]
                numbers += (*slopes[side * L + leaf], balls[side][leaf])
                bound = self.leaf(side, signed, cuts, groups[leaf], *numbers)
                worst, first = max(worst, bound), first + widths[leaf]
        return worst

    def slopes(self, L):
        """(W, η, ω, θ) of every sign and leaf."""
        n, d = self.n, self.d
        none = [Fraction(0)] * n
        if "eta" not in self.tensors:
            return [([[Fraction(0)] * d] * d, none, Fraction(0), none)] * (self.S * L)
        lean = self.shaped("lean", self.S, L, n) if "lean" in self.tensors else none * self.S * L
        eta, tilt = self.shaped("eta", self.S, L, n), self.shaped("tilt", self.S, L)
        have, flat = self.tensors["factor"]
        must(len(have) == 3 and have[0] == self.S and have[1] % L == 0 and have[2] == d, "shape of factor")
        must(all(abs(v) <= 1 for v in flat), "domain of factor")
        J, result = have[1] // L, []
        for place in range(self.S * L):
            V = [flat[(place * J + j) * d :][:d] for j in range(J)]
            W = [[sum((v[a] * v[b] for v in V), Fraction(0)) for b in range(d)] for a in range(d)]
            result.append((W, eta[place * n :][:n], tilt[place], lean[place * n :][:n]))
        return result

    def balls(self, forms):
        """The rows k of every sign, leaf and group; ``forms`` says how many each group has."""
        d, L, total = self.d, len(forms), sum(map(sum, forms))
        if "ball" not in self.tensors:
            return [[[[[Fraction(0)] * d] * width for width in own] for own in forms]] * self.S
        have, flat = self.tensors["span"]
        must(len(have) == 3 and have[0] == self.S and have[1] % L == 0 and have[2] == d, "shape of span")
        must(all(abs(v) <= 1 for v in flat), "domain of span")
        size = have[1] // L
        omega, result, row = self.shaped("ball", self.S, total, size), [[], []], 0
        for side in range(self.S):
            for leaf, own in enumerate(forms):
                G = [flat[((side * L + leaf) * size + j) * d :][:d] for j in range(size)]
                result[side].append([])
                for width in own:
                    lines = [omega[(row + f) * size :][:size] for f in range(width)]
                    result[side][leaf].append([mix(line, G) if G else [Fraction(0)] * d for line in lines])
                    must(not any(lines[0]), "a ball product of the form 1")
                    row += width
        return result

    def leaf(self, side, z, cuts, groups, w, c, nu, r, level, W, eta, tilt, lean, balls):
        biased = self.first == "free"
        paired = {s for group in groups for s in group}
        F = [[Fraction(1)] + [Fraction(0)] * self.d] + [[Fraction(0), *g] for g in cuts]
        e0, size = F[0], 1 + self.d
        M = [[Fraction(0)] * size for _ in range(size)]
        must(level >= 0 and all(v >= 0 for rows in r for row in rows for v in row), "signs")
        for i, x in enumerate(self.X):
            mine_w, mine_c, row = [form[i] for form in w], [form[i] for form in c], [Fraction(0), *x]
            must(all(v >= 0 for v in mine_c), "c")
            plus, minus = any(g == x for g in cuts), any([-v for v in g] == x for g in cuts)
            if i in paired or plus or minus:
                must(not any(mine_w) and not any(mine_c), "w and c")
                must(i in paired or nu[i] == 0, "nu")
                must(eta[i] == 0 and lean[i] == 0, "eta")
                if i not in paired and plus:
                    add(M, z[i], e0, row)
                continue
            must(nu[i] == 0 or nu[i] >= Fraction(1, LARGEST), "nu")
            must(all(a >= b for a, b in zip(mine_w[1:], mine_c[1:], strict=True)), "w below c")
            image = [dot(line, x) for line in W]
            if biased:
                image[-1] = Fraction(0)
            square, room = eta[i] ** 2 * dot(image, image), mine_w[0] - z[i] - mine_c[0] - abs(lean[i])
            must(room >= 0 and room**2 >= square, "w below z + c + |eta| |Wx|")
            left = mine_c[0] - abs(lean[i])
            must(left >= 0 and left**2 >= square, "c below |eta| |Wx|")
            add(M, -lean[i], row, [Fraction(0)] * self.d + [Fraction(1)])
            add(M, Fraction(-1), row, mix(mine_c, F))
            add(M, -eta[i], row, [Fraction(0), *image])
            if nu[i] == 0:
                must(not any(mine_w), "nu is 0")
            else:
                psi = [a + nu[i] * b for a, b in zip(mix(mine_w, F), row, strict=True)]
                add(M, 1 / (4 * nu[i]), psi, psi)
        for a in range(size - biased):
            M[a][a] += tilt if a == 0 else -tilt
        for group, square, ball in zip(groups, r, balls, strict=True):
            for f, k in enumerate(ball):
                have, u = square[0][f] + square[f][0], k[:-1] if biased else k
                have -= abs(k[-1]) if biased else 0
                must(have >= 0 and have**2 >= dot(u, u), "r below |k|")
            self.eliminate(
                M,
                [[v * e for e in e0] for v in z],
                F,
                [[Fraction(0), *self.X[s]] for s in group],
                [nu[s] for s in group],
                group,
                square,
                ball,
            )
        return self.bounded(M, level, side)

    def eliminate(self, M, heads, F, rows, nu, group, square, ball=()):
        """Add aᵀ(H + BᵀA⁻¹B)a: the maximum over s of the group's form; ``heads`` are the forms of a that multiply s."""
        p, e = len(group), len(M)
        zero = [Fraction(0)] * e
        on_a = [*F, *[zero] * p, *[[-v for v in row] for row in rows]]
        on_s = [[Fraction(0)] * p for _ in F] + 2 * [[Fraction(int(a == b)) for b in range(p)] for a in range(p)]
        whole = [[*a, *s] for a, s in zip(on_a, on_s, strict=True)]
        C = [[Fraction(0)] * (e + p) for _ in range(e + p)]
        for a, row in enumerate(square):
            for b, factor in enumerate(row):
                if factor:
                    add(C, factor, whole[a], whole[b])
        for f, k in enumerate(ball):
            add(C, Fraction(-1), whole[f], [Fraction(0), *k, *[Fraction(0)] * p])
        for j, s in enumerate(group):
            unit = [Fraction(0)] * (e + p)
            unit[e + j] = Fraction(1)
            add(C, Fraction(1), [*heads[s], *[Fraction(0)] * p], unit)
            slope = [a - b for a, b in zip(unit, [*rows[j], *[Fraction(0)] * p], strict=True)]
            add(C, -nu[j], unit, slope)
        for k in range(e + p - 1, e - 1, -1):  # one variable s after another: −C_kk s² + 2 s (…) is at most (…)²/−C_kk
            must(C[k][k] < 0, "a group is not definite")
            for a in range(k):
                for b in range(k):
                    C[a][b] -= C[a][k] * C[k][b] / C[k][k]
        for a in range(e):
            for b in range(e):
                M[a][b] += C[a][b]


def dot(a, b):
    return sum((p * q for p, q in zip(a, b, strict=True)), Fraction(0))


def mix(weights, rows):
    return [sum((v * row[k] for v, row in zip(weights, rows, strict=True)), Fraction(0)) for k in range(len(rows[0]))]


def add(C, factor, a, b):
    """Add factor·(a·v)(b·v) to the quadratic form vᵀCv, C symmetric."""
    for i, p in enumerate(a):
        for j, q in enumerate(b):
            C[i][j] += factor * (p * q + a[j] * b[i]) / 2


def bound_of(M, levels, level, length):
    """max(0, 2λ + length·‖E‖_F), E the negative part of diag(levels) − M."""
    size = len(M)
    with mpmath.workdps(50):
        gap = mpmath.matrix(size, size)
        for a in range(size):
            for b in range(size):
                gap[a, b] = real((levels[a] if a == b else Fraction(0)) - M[a][b])
        values = mpmath.eigsy(gap, eigvals_only=True)
        missing = mpmath.sqrt(sum(min(v, 0) ** 2 for v in values))
        return max(Fraction(0), 2 * level + length * rational(missing))


def real(value):
    return mpmath.mpf(value.numerator) / value.denominator


def rational(value):
    return Fraction(int(mpmath.floor(value * mpmath.mpf(2) ** 140)), 2**140)


def root(value):
    with mpmath.workdps(50):
        return rational(mpmath.sqrt(real(value)))


def square(rows):
    return sum((v * v for row in rows for v in row), Fraction(0))


def cone_bound(A, z, cone):
    """The least ‖w‖ with v_kᵀw ≥ c_k on one cone, by trying every set of active rows."""
    norms = [root(Fraction(dot(v, v))) for v in cone]
    middle = [sum(Fraction(v[k]) / size for v, size in zip(cone, norms, strict=True)) for k in range(len(cone))]
    tie = max(abs(v) for row in A for v in row) / 2**30
    g = [Fraction(0)] * len(cone)
    for row, value in zip(A, z, strict=True):
        if value < 0 and dot(row, middle) > tie:
            g = [a - value * b for a, b in zip(g, row, strict=True)]
    c = [
        sum(value * max(dot(row, v), 0) for row, value in zip(A, z, strict=True) if value > 0) - dot(g, v) for v in cone
    ]
    best = None
    for code in range(2 ** len(cone)):
        on = [k for k in range(len(cone)) if code >> k & 1]
        lam = linear([[Fraction(dot(cone[a], cone[b])) for b in on] for a in on], [c[k] for k in on])
        w = [sum((m * cone[k][e] for m, k in zip(lam, on, strict=True)), Fraction(0)) for e in range(len(cone))]
        if all(dot(v, w) >= low for v, low in zip(cone, c, strict=True)):
            best = dot(w, w) if best is None else min(best, dot(w, w))
    return root(best)


def linear(rows, right):
    """The solution of a linear system with an invertible matrix."""
    rows = [[*row, b] for row, b in zip(rows, right, strict=True)]
    for k in range(len(rows)):
        at = next(i for i in range(k, len(rows)) if rows[i][k] != 0)
        rows[k], rows[at] = rows[at], rows[k]
        rows[k] = [v / rows[k][k] for v in rows[k]]
        rows = [
            row if i == k else [a - row[k] * b for a, b in zip(row, rows[k], strict=True)] for i, row in enumerate(rows)
        ]
    return [row[-1] for row in rows]
