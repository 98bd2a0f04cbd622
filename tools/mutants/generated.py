"""Mutants from the syntax tree: changed comparisons, removed operands, disabled guards, shortened conditions."""

import ast
from collections import Counter
from collections.abc import Iterator

from tools.mutants.mutant import ROOT, Mutant

FILES = (
    "chalicelib/baton/lineages/login_rules.py",
    "chalicelib/baton/lineages/rules.py",
    "chalicelib/baton/proof/once_rules.py",
    "chalicelib/baton/proof/signature.py",
    "chalicelib/baton/proof/signature_input.py",
    "chalicelib/baton/tokens/jwt.py",
    "chalicelib/baton/tokens/opaque.py",
    "chalicelib/baton/tokens/token.py",
    "chalicelib/baton/storage/dynamodb/lineages.py",
    "chalicelib/baton/storage/dynamodb/state_writes.py",
)
"""The files whose mutants are generated. A test must kill each mutant that is not in ``EQUIVALENT``."""

_TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}

EQUIVALENT: dict[str, str] = {
    "lineages/rules.py: judge: behind < 0 -> (behind <= 0)": "a token that is not behind was answered above",
    "lineages/rules.py: active_lineage: account_state is None or lineage is None -> (lineage is None)": "same result",
    "lineages/rules.py: may_act: account_state is None or lineage is None -> (lineage is None)": "same result",
    "lineages/login_rules.py: removed_by_login: surplus <= 0 -> (surplus < 0)": "a slice of zero entries is empty",
    "proof/signature.py: signature_base: not (value.isascii() and value.isprintable()) and _UNSIGNABLE.search(value)"
    " -> (_UNSIGNABLE.search(value))": "same result, slower",
    "proof/signature_input.py: find_input: plain is not None -> False": "same result, slower",
    "proof/signature_input.py: _value: plain is not None and plain[1] == label and len(plain[2]) % 4 == 0 -> False": (
        "same result, slower"
    ),
    "storage/dynamodb/lineages.py: LineageStore.bind_browser: acting.browser_key is not None and"
    " acting.browser_key.point == key.point -> (acting.browser_key.point == key.point)": (
        "the condition fails for a live login only if it has a browser key"
    ),
    "proof/signature.py: check_digest: text == content_digest(message.body) -> False": "same result, slower",
}
"""Mutants without an observable effect, each with the reason."""


def generated(file: str) -> Iterator[Mutant]:
    """Yield the mutants of a file. The name of a mutant contains the function or constant that it changes."""
    source = (ROOT / file).read_text("utf-8")
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line.encode()))
    seen: Counter[str] = Counter()
    for where, node, changed in _changes(ast.parse(source)):
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        old = source.encode()[start:end].decode()
        new = changed if isinstance(changed, str) else f"({ast.unparse(changed)})"
        name = f"{where}: {' '.join(old.split())} -> {new}"
        seen[name] += 1
        name += f" ({seen[name]})" if seen[name] > 1 else ""
        yield Mutant(file, name, old, new, at=len(source.encode()[:start].decode()))


def _changes(tree: ast.Module) -> Iterator[tuple[str, ast.expr, ast.expr | str]]:
    for statement in tree.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.value, ast.Tuple):
            yield from _shortened(ast.unparse(statement.target), statement.value)
    for where, node in _within(tree, ""):
        if isinstance(node, ast.Compare):
            yield from ((where, node, turned) for turned in _turned(node))
        elif isinstance(node, ast.BoolOp):
            for place in range(len(node.values)):
                kept = node.values[:place] + node.values[place + 1 :]
                yield where, node, kept[0] if len(kept) == 1 else ast.BoolOp(node.op, kept)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield where, node, node.operand
        elif isinstance(node, ast.If) and isinstance(node.body[0], ast.Raise | ast.Return):
            yield where, node.test, "False"


def _within(node: ast.AST, where: str) -> Iterator[tuple[str, ast.AST]]:
    """Yield each node and the name of its function. Skip what is in annotated assignments and in ``TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(node):
        inside = f"{where}.{child.name}".lstrip(".") if isinstance(child, ast.FunctionDef | ast.ClassDef) else where
        yield inside, child
        if not isinstance(child, ast.AnnAssign) and not (
            isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        ):
            yield from _within(child, inside)


def _turned(node: ast.Compare) -> Iterator[ast.Compare]:
    for place, operator in enumerate(node.ops):
        turned = _TURNED[type(operator)]()
        yield ast.Compare(node.left, [*node.ops[:place], turned, *node.ops[place + 1 :]], node.comparators)


def _shortened(where: str, node: ast.Tuple) -> Iterator[tuple[str, ast.expr, ast.expr]]:
    """Yield a tuple of names without one of its parts, once for each part. Yield nothing for any other tuple."""
    made_of = [type(part) for part in node.elts]
    if ast.Name in made_of and set(made_of) <= {ast.Name, ast.Starred, ast.Constant}:
        for place in range(len(node.elts)):
            yield where, node, ast.Tuple(node.elts[:place] + node.elts[place + 1 :], ast.Load())
