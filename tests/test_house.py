"""The rules of the house, as tests: floors, what imports torch, sizes of files and functions, files that load."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from nnopt.spec.base import KindSpec, Spec
from nnopt.spec.loading import load
from nnopt.spec.parts import MAPPINGS, UNIONS

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "nnopt"
SOURCES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
BOARD = ROOT / "configs" / "scoreboard"  # workloads and optimizers, which are no specs by themselves
SPECS = [
    *(path for path in sorted(ROOT.glob("configs/**/*.yaml")) if BOARD not in path.parents),
    *sorted(PACKAGE.glob("examples/*.yaml")),
]

# Low to high; what stands on one floor may not import from its neighbours there (but within itself).
FLOORS = [
    {"version", "errors", "quiet", "stages", "surroundings", "loading"},
    {"schedules", "optim", "models", "losses", "metrics", "data", "randomness", "structure"},
    {"spec"},
    {"plan"},
    {"store"},
    {"compare", "importing"},
    {"track"},
    {"train"},
    {"scale", "export"},
    {"search"},
    {"bench"},
    {"api", "cli", "examples"},
]
FLOOR = {name: height for height, names in enumerate(FLOORS) for name in names}
# Neighbours on one floor that may use each other, with the reason.
NEIGHBOURS = {
    ("metrics", "losses"),  # a tally takes scores from the loss
    ("data", "randomness"),  # the order of batches is drawn
    ("cli", "examples"),  # `nnopt init` writes them
}
MAX_FILE, MAX_FUNCTION = 400, 70  # lines; of a function, those of its body
HEAVY = (
    *("torch", "sklearn", "pandas", "scipy", "matplotlib", "tensorboard", "mlflow", "wandb", "optuna"),
    *("torchao", "torch_pruning", "pytorch_optimizer"),
    *("ray", "submitit"),
    *("onnx", "onnxscript", "onnxruntime", "hls4ml", "executorch"),
)


def module_of(path: Path) -> str:
    """The dotted name of a source file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """The room that a module of nnopt belongs to, as `spec` for nnopt.spec.base; empty for nnopt itself."""
    return module.split(".")[1] if "." in module else ""


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every import below `tree`, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the floors"
            for name in node.names:
                yield node.lineno, f"{node.module}.{name.name}"


def imports_when_run(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Imports that happen when a module is imported: none inside functions, nor those for type checkers alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield from imports(child)
        else:
            yield from imports_when_run(child)


def test_every_file_belongs_to_a_floor() -> None:
    rooms = {room_of(module_of(path)) for path in SOURCES} - {"", "__main__"}
    assert rooms == set(FLOOR)


def of_each(paths: Iterable[Path]) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    """A test of a file becomes one of each folder's files: two thousand tests take longer to hand out than to run."""
    files: dict[Path, list[Path]] = {}
    for path in paths:
        files.setdefault(path.parent, []).append(path)

    def decorated(check: Callable[[Path], None]) -> Callable[[Path], None]:
        @pytest.mark.parametrize("folder", files, ids=lambda folder: str(folder.relative_to(ROOT)))
        def test(folder: Path) -> None:
            for path in files[folder]:
                try:
                    check(path)
                except AssertionError as error:
                    raise AssertionError(f"{path.relative_to(ROOT)}: {error}") from error

        return test

    return decorated


@of_each(SOURCES)
def test_imports_go_down_only(path: Path) -> None:
    room = room_of(module_of(path))
    if room in ("", "__main__"):  # the front door may open every room
        return
    for line, name in imports(ast.parse(path.read_text())):
        other = room_of(name) if name.split(".")[0] == "nnopt" else None
        if not other or other == room:
            continue
        assert FLOOR[other] < FLOOR[room] or (room, other) in NEIGHBOURS, f"{path.name}:{line} imports {name}"


LIGHT = ("spec", "plan", "store", "compare", "importing", "track", "cli", "errors", "schedules", "api")


@of_each([path for path in SOURCES if room_of(module_of(path)) in LIGHT])
def test_the_front_end_imports_nothing_heavy_at_module_level(path: Path) -> None:
    for line, name in imports_when_run(ast.parse(path.read_text())):
        assert name.split(".")[0] not in HEAVY, f"{path.name}:{line} imports {name}"


def modules_after(statement: str) -> set[str]:
    """The top names of all modules that a fresh process holds after a statement."""
    code = f"import sys\n{statement}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import nnopt.cli.main",
        "import nnopt.spec.parts, nnopt.spec.json_schema, nnopt.plan",
        "import nnopt.store.find, nnopt.store.place, nnopt.compare.comparison",
        "from nnopt import load",
    ],
)
def test_a_fresh_process_holds_nothing_heavy(statement: str) -> None:
    assert modules_after(statement) & set(HEAVY) == set()


def test_checking_a_spec_needs_no_torch() -> None:
    spec = PACKAGE / "examples" / "start.yaml"
    found = modules_after(
        f"from nnopt import load\nfrom nnopt.plan import Plan\nassert Plan.of(load({str(spec)!r})).runs[0].hash"
    )
    assert found & set(HEAVY) == set()


def test_comparing_needs_no_torch(tmp_path: Path) -> None:
    assert "torch" not in modules_after(
        "from nnopt.compare.comparison import compare\n"
        "import nnopt.compare.tables.table, nnopt.compare.tables.terminal\n"
        "import nnopt.compare.pictures.convergence, nnopt.compare.pictures.run"
    )


@of_each(SOURCES)
def test_a_file_and_its_functions_can_be_seen_whole(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert lines <= MAX_FUNCTION, f"{node.name} has {lines} lines"


@of_each(TESTS)
def test_a_file_of_tests_stays_readable(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 700


def test_files_of_tests_have_names_of_their_own() -> None:
    names = [path.name for path in TESTS if path.name != "conftest.py"]
    assert len(names) == len(set(names))  # pytest imports them by these names


@of_each(SOURCES)
def test_no_ladder_of_kinds(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.If) and node.orelse and isinstance(node.orelse[0], ast.If):
            tests = [ast.unparse(node.test), ast.unparse(node.orelse[0].test)]
            assert not all("kind ==" in test for test in tests), f"{path.name}:{node.lineno}"


@of_each(SOURCES)
def test_nothing_is_left_to_do(path: Path) -> None:
    text = path.read_text()
    for word in ("TODO", "FIXME", "XXX", "NotImplementedError", "breakpoint("):
        assert word not in text


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.name)
def test_every_spec_that_we_give_loads(path: Path) -> None:
    assert path.read_text().startswith("# "), "the first line says what the file is for"
    assert load(path).variants


def parts() -> list[type[Spec]]:
    """Every class that a spec file can name."""
    return [*(part for kinds in UNIONS.values() for part in kinds.members), *MAPPINGS.values()]


@pytest.mark.parametrize("part", parts(), ids=lambda part: part.__name__)
def test_every_part_describes_itself_and_its_keys(part: type[Spec]) -> None:
    assert part.__doc__
    assert part.__doc__.split("\n")[0].endswith(".")
    for name, field in part.model_fields.items():
        assert field.description or name == "kind", name
        if issubclass(part, KindSpec) and name == "kind":
            assert field.is_required(), "a default kind would make `kind` part of nothing"


def test_every_part_has_a_name_of_its_own() -> None:
    for kinds in UNIONS.values():
        assert len(kinds.named()) == len(kinds.members)
        assert all(kinds.named())


def test_the_front_end_starts_fast() -> None:
    """A loose bound on the imports alone, as other work may share the machine: the benchmarks measure the whole."""
    code = "import time; start = time.perf_counter(); import nnopt.cli.main; print(time.perf_counter() - start)"
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(times) < 1.0
