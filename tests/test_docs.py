"""Documents that cannot lie: what they list is what the code has, and what they point to exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from cluster.config import Settings, read_settings, variables_of
from gateway.metrics import METRICS
from log import errors, limits

from .support.tree import ROOMS, ROOT, files_below, parsed, product_modules

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *(ROOT / path for path in files_below("docs", suffix=".md"))]
UNITS = ((1 << 40, "TiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def read(page: str) -> str:
    return (DOCS / page).read_text()


def table_rows(text: str) -> list[tuple[str, ...]]:
    """The rows of every table whose first cell is code, cells stripped, backquotes removed."""
    lines = (line for line in text.splitlines() if line.startswith("| `"))
    split = (re.split(r"(?<!\\)\|", line.strip("|")) for line in lines)
    return [tuple(cell.strip().strip("`") for cell in cells) for cells in split]


# --- references --------------------------------------------------------------------------------------


def code_positions() -> dict[str, int]:
    """Where each function that takes an error code takes it: those with a parameter named `code`."""
    positions = {"BackendError": 1}
    for path in product_modules():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef) and node.name != "__init__":
                names = [argument.arg for argument in node.args.args]
                if "code" in names:
                    positions[node.name] = names.index("code")
    return positions


def constructed_codes() -> Iterator[str]:
    """Every code written down as such, wherever an error is made."""
    positions = code_positions()
    for path in product_modules():
        for node in ast.walk(parsed(path)):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            position = positions.get(name, len(node.args))
            if position < len(node.args) and isinstance(node.args[position], ast.Constant):
                code = ast.literal_eval(node.args[position])
                if isinstance(code, str) and re.fullmatch(r"[A-Z]\w+", code):
                    yield code


def test_the_error_reference_names_exactly_the_codes_of_the_code() -> None:
    documented = [row[0] for row in table_rows(read("reference/errors.md"))]
    assert len(documented) == len(set(documented)), "a code stands there twice"
    assert set(documented) == set(constructed_codes())


def test_the_error_reference_names_every_kind() -> None:
    text = read("reference/errors.md")
    assert not [kind.value for kind in errors.ErrorKind if kind.value not in text]


def shown(name: str, number: float) -> str:
    """How the reference prints a limit: bytes in the largest binary unit that divides them."""
    for unit_bytes, unit in UNITS:
        if "BYTES" in name and number >= unit_bytes and number % unit_bytes == 0:
            return f"{int(number) // unit_bytes} {unit}"
    return f"{number:,}"


def test_the_limits_reference_has_every_number_with_its_value() -> None:
    documented = {row[0]: row[1] for row in table_rows(read("reference/limits.md"))}
    numbers = {name: value for name, value in vars(limits).items() if name.isupper()}
    for unit in ("KIB", "MIB"):
        del numbers[unit]
    assert documented == {name: shown(name, value) for name, value in numbers.items()}


def test_the_limits_reference_says_which_are_not_enforced_yet() -> None:
    others = (path for path in product_modules() if str(path) != "log/limits.py")
    used = set(re.findall(r"\b[A-Z][A-Z_]+\b", " ".join((ROOT / path).read_text() for path in others)))
    rows = table_rows(read("reference/limits.md"))
    idle = {row[0] for row in rows if row[2].endswith("(not enforced yet)")}
    assert idle == {row[0] for row in rows} - used


def test_the_metrics_reference_lists_exactly_what_is_told_in_its_order() -> None:
    documented = table_rows(read("reference/metrics.md").split("\n## Labels")[0])
    told = [(metric.name, metric.kind, ", ".join(metric.labels), metric.help) for metric in METRICS]
    assert documented == told


def test_the_settings_reference_has_every_setting() -> None:
    documented = [(row[0], row[1]) for row in table_rows(read("reference/settings.md"))]
    assert documented == [(variables_of(name)[0], name) for name in Settings.model_fields]


def test_the_settings_reference_gives_the_other_names_of_a_setting() -> None:
    rows = {row[1]: row[-1] for row in table_rows(read("reference/settings.md"))}
    for name in Settings.model_fields:
        assert all(f"`{other}`" in rows[name] for other in variables_of(name)[1:]), name


def test_the_example_file_of_the_settings_reference_can_be_read(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", read("reference/settings.md"), re.DOTALL)
    (tmp_path / "tidelog.toml").write_text(example)
    assert read_settings(tmp_path / "tidelog.toml").instance_name == "orca"


def test_the_settings_reference_gives_each_default() -> None:
    rows = {row[1]: row[3] for row in table_rows(read("reference/settings.md"))}
    for name, field in Settings.model_fields.items():
        if field.default is not None and field.default_factory is None:
            expected = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
            assert rows[name] == expected


# --- status ------------------------------------------------------------------------------------------


def unbuilt_things() -> Iterator[str]:
    """What `not_supported_yet` is told, and the values of the tables of unbuilt things."""
    for path in product_modules():
        for node in ast.walk(parsed(path)):
            match node:
                case ast.Call(func=called, args=[ast.Constant(value=str(thing))]):
                    if ast.unparse(called).endswith("not_supported_yet"):
                        yield thing
                case ast.Assign(
                    targets=[ast.Name(id="NOT_BUILT" | "_UNBUILT")], value=ast.Dict(values=things)
                ):
                    yield from (ast.literal_eval(thing) for thing in things)


def test_everything_not_supported_yet_stands_in_the_status() -> None:
    text = re.sub(r"\s+", " ", read("status.md").replace("`", "")).lower()
    things = {re.sub(r"^(the|this) ", "", thing.lower()) for thing in unbuilt_things()}
    assert len(things) > 5, "the search found too little to be right"
    assert not {thing for thing in things if thing not in text}


# --- architecture, invariants, decisions -------------------------------------------------------------


def test_every_module_has_a_docstring_and_a_line_in_the_architecture() -> None:
    with_content = [path for path in product_modules() if parsed(path).body]
    silent = [str(path) for path in with_content if ast.get_docstring(parsed(path)) is None]
    assert not silent, "no opening docstring"
    text = read("architecture.md")
    documented = set()
    for room in ROOMS:
        section = text.split(f"\n### {room}/\n")[1].split("\n### ")[0]
        documented |= {f"{room}/{row[0]}" for row in table_rows(section)}
    assert documented == {str(path) for path in with_content}


def test_every_invariant_is_guarded_by_a_test_that_exists() -> None:
    guards = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", read("invariants.md"))
    rows = re.findall(r"^\| [A-Z]\d+ \|", read("invariants.md"), re.M)
    assert len(guards) == len(rows) and len(set(rows)) == len(rows)
    missing = [f"{path}::{name}" for path, name in guards if not defines(ROOT / path, name)]
    assert not missing


RUNTIME_CHECKS = {str(number) for number in range(1, 30)}
ENGINE_CHECKS = {f"T{number}" for number in (*range(1, 10), *range(13, 17))}


def test_every_check_of_the_specification_is_shown_by_tests_that_exist_or_says_why_not() -> None:
    rows = re.findall(r"^\| (T?\d+) \| (.+?) \| (.*?) ?\|$", read("conformance.md"), re.M)
    assert {number for number, *_ in rows} == RUNTIME_CHECKS | ENGINE_CHECKS
    for number, shown, tests in rows:
        guards = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", tests)
        assert guards or "not built" in shown, f"{number}: {shown}"
        assert not [f"{path}::{name}" for path, name in guards if not defines(ROOT / path, name)]


def test_every_claim_of_security_is_shown_by_a_test_that_exists() -> None:
    text = read("security.md")
    tables = text.split("| Claim | Shown by |\n|---|---|\n")[1:]
    rows = [row for table in tables for row in table.split("\n\n")[0].splitlines()]
    guards = [re.fullmatch(r"\| .+ \| `(tests/[\w/]+\.py)::(test_\w+)` \|", row) for row in rows]
    assert len(rows) > 20 and all(guards), [row for row, guard in zip(rows, guards, strict=True) if not guard]
    named = [guard.groups() for guard in guards if guard]
    assert len(set(named)) == len(named)
    assert not [f"{path}::{name}" for path, name in named if name not in functions_of(ROOT / path)]


def functions_of(path: Path) -> set[str]:
    """Names of the functions and methods that a file defines, none when it does not exist."""
    tree = ast.parse(path.read_text() if path.exists() else "")
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def defines(path: Path, name: str) -> bool:
    return path.exists() and re.search(rf"^\s*(async )?def {name}\(", path.read_text(), re.M) is not None


def test_every_decision_is_short_numbered_and_checked_by_something_that_exists() -> None:
    records = sorted((DOCS / "decisions").glob("*.md"))
    assert [int(record.name[:4]) for record in records] == list(range(1, len(records) + 1))
    for record in records:
        text = record.read_text()
        assert text.startswith(f"# {record.name[:4]} "), record.name
        assert len(text.splitlines()) <= 14, f"{record.name} is a record, not an essay"
        for opening in ("Because ", "We do ", "We give up ", "Undo if ", "Checked by "):
            assert f"\n{opening}" in text, f"{record.name} lacks {opening!r}"
        path, _, name = text.split("\nChecked by ")[1].split()[0].partition("::")
        assert (ROOT / path).exists() and (not name or defines(ROOT / path, name)), record.name


def test_the_glossary_has_each_word_once_and_in_order() -> None:
    words = re.findall(r"^\| \*\*([\w ]+)\*\* \|", read("glossary.md"), re.M)
    assert words == sorted(set(words))


# --- links and commands ------------------------------------------------------------------------------


def test_every_link_between_documents_leads_somewhere() -> None:
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if not target.startswith(("http://", "https://")) and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)} -> {target}")
    assert not broken


def test_every_file_named_in_a_document_exists() -> None:
    named = re.compile(rf"`((?:{'|'.join(ROOMS)}|tests|docs)/[\w/.]+\.\w+)")
    missing = [
        f"{page.relative_to(ROOT)}: {path}"
        for page in PAGES
        for path in named.findall(page.read_text())
        if not (ROOT / path).exists()
    ]
    assert not missing


def test_every_make_target_is_told_to_contributors() -> None:
    targets = re.search(r"^\.PHONY: (help .*)$", (ROOT / "Makefile").read_text(), re.M)
    assert targets is not None
    text = read("CONTRIBUTING.md")
    untold = [name for name in targets[1].split() if f"`make {name}`" not in text]
    assert set(untold) <= {"help", "setup-dev"}


def test_every_tidelog_command_is_told_in_the_readme() -> None:
    commands = set(re.findall(r"@app\.command\(\)\ndef (\w+)", (ROOT / "cluster/cli.py").read_text()))
    text = (ROOT / "README.md").read_text()
    assert not {name for name in commands if f"tidelog {name.replace('_', '-')}" not in text}
