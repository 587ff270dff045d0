"""What a page prints in a `check` cell must be the same on every processor.

The sign of a number that is zero up to round-off is not: another BLAS kernel, or another number of
threads, turns it. So no
`check` cell prints, or asserts, an unrounded comparison with 0.
"""

import ast
import itertools
from pathlib import Path

import jupytext
import pytest

BOOK = Path(__file__).resolve().parent.parent / "book"
THROUGH = {"bool", "int", "str", "float", "all", "any", "sum", "mean", "count_nonzero", "item"}
EXACT = {"len", "int", "round", "astype", "argmin", "argmax", "isnull", "count_nonzero"}


def called(node):
    """The bare name of what is called: `all` for `all(x)`, `np.all(x)` and `x.all()`."""
    f = node.func
    return f.attr if isinstance(f, ast.Attribute) else getattr(f, "id", "")


def claims(node, known):
    """The comparisons whose outcome `node` tells; `known` has what names were set to."""
    match node:
        case ast.Compare():
            yield node
            return
        case ast.Name(id=name):
            inside = [known[name]] if name in known else []
            known = {k: v for k, v in known.items() if k != name}
        case ast.Call():
            inside = [node.func, *node.args] if called(node) in THROUGH else []
        case ast.Attribute(value=value) | ast.Subscript(value=value):
            inside = [value]
        case _:  # f-strings, tuples, `not`, `and`, `... if ... else ...`, comprehensions
            inside = ast.iter_child_nodes(node)
    for child in inside:
        yield from claims(child, known)


def is_zero(node):
    if isinstance(node, ast.UnaryOp):
        return is_zero(node.operand)
    value = getattr(node, "value", None)
    return type(value) in (int, float) and abs(value) < 1e-15  # below round-off is 0 as well


def is_exact(node):
    """Whether what is compared was rounded, counted or looked up."""
    match node:
        case ast.Subscript(value=value):
            return is_exact(value)
        case ast.Call(func=ast.Attribute(value=value, attr="sum" | "min" | "max" | "any" | "all")):
            return isinstance(value, ast.Compare) or is_exact(value)
        case ast.Call():
            return called(node) in EXACT
    return isinstance(node, ast.Constant)


def undecided(source):
    """The comparisons with 0 of something unrounded that a cell prints or asserts."""
    known, told = {}, []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                known[name] = value
            case ast.Call(func=ast.Name(id="print"), args=args):
                told += args
            case ast.Assert(test=test):
                told.append(test)
    return [
        ast.unparse(claim)
        for told_of in told
        for claim in claims(told_of, known)
        for pair in itertools.pairwise([claim.left, *claim.comparators])
        if any(is_zero(one) and not is_exact(other) for one, other in (pair, pair[::-1]))
    ]


@pytest.mark.parametrize(
    "cell",
    [
        'print("negative:", bool(least < 0))',
        'print(f"negative: {least < 0.0}")',
        "print((np.linalg.eigvalsh(A) >= 0).all())",
        "down = np.diff(J) <= 0\nprint('falls:', bool(np.all(down)))",
        "print('grows' if rate > 0 else 'dies')",
        "print(not 0 < gap, 'so')",
        "print(*(g > -0.0 for g in rates))",
        "print((np.diff(x) < 0).sum(), 'falls')",
        "print(error < 1e-17)",
        "assert np.all(variance > 0)",
    ],
)
def test_the_rule_fires(cell):
    assert undecided(cell)


@pytest.mark.parametrize(
    "cell",
    [
        'print("negative:", bool(least < -1e-6))',
        "print(len(wrong) == 0, int(lost.sum()) == 0, round(bias, 2) == 0)",
        "print((fires.astype(int) >= 0).all(), (x > 1).sum() == 0)",
        "print(tide[u < 0].sum().round(2))",
        "print(f'{level:.1f}')",
    ],
)
def test_the_rule_lets_pass(cell):
    assert not undecided(cell)


@pytest.mark.parametrize(
    "page",
    [p for p in sorted(BOOK.rglob("*.md")) if p.read_text("utf8").startswith("---\njupytext:")],
    ids=lambda p: p.stem,
)
def test_no_check_cell_prints_the_sign_of_round_off(page):
    cells = jupytext.read(page, fmt="md:myst").cells
    sources = [c.source for c in cells if "check" in c.metadata.get("tags", [])]
    assert sources
    found = [truth for source in sources for truth in undecided(source)]
    assert not found, "round first, or compare with a tolerance that says why"
