"""The documentation is true: its Python blocks run, print what they are shown to print, and its links lead somewhere."""
import ast
import codeop
import contextlib
import doctest
import io
import pathlib
import re

import numpy as np
import pytest

import jitnet

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
MODULES = sorted((ROOT / "jitnet").glob("**/*.py"))
BLOCK = re.compile(r"^(?:<!-- (?P<mark>[a-z ]+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text):
    """(mark, language, text, line) of every fenced block; the mark is an HTML comment right above it."""
    return [(m["mark"], m["language"], m["text"], text[:m.start("text")].count("\n")) for m in BLOCK.finditer(text)]


def name(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_blocks_run_and_print_what_is_shown(page, monkeypatch, tmp_path):
    """Blocks of a page run in order, in one scope. A block without a language right after one is its output."""
    monkeypatch.chdir(tmp_path)
    scope, printed, ran = {"__name__": "__docs__"}, None, 0
    for mark, language, text, line in blocks(page.read_text()):
        if language == "python" and mark != "not run":
            # Padding keeps the page's line numbers in tracebacks, and lets jitnet find the source lines that it names.
            code = compile("\n" * line + text, str(page), "exec")
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(code, scope)
            printed, ran = output.getvalue(), ran + 1
        elif language in ("", "text") and printed is not None:
            assert without_padding(printed) == without_padding(text), f"{name(page)}:{line}"
            printed = None
        else:
            printed = None
    assert ran == sum(language == "python" and mark != "not run" for mark, language, _, _ in blocks(page.read_text()))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_blocks_can_be_pasted_into_an_interpreter(page):
    """At its prompt a blank line ends a block, and nothing else does."""
    for _, language, text, line in blocks(page.read_text()):
        typed = []
        for number, entered in enumerate([*text.splitlines(), ""] if language == "python" else [], line + 1):
            typed.append(entered)
            try:
                if codeop.compile_command("\n".join(typed)) is not None:
                    typed.clear()
            except SyntaxError as error:
                pytest.fail(f"{name(page)}:{number}: {error.msg}")
        assert typed == [], f"{name(page)}:{line}"


def without_padding(text):
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files(page):
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text())
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_docstring_examples(path):
    """Every `>>>` example in the package prints what its docstring says."""
    text = path.read_text()
    if ">>>" not in text:
        assert ast.get_docstring(ast.parse(text)) is not None, f"{name(path)} has no docstring"
        return
    parser = doctest.DocTestParser()
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ">>>" in (ast.get_docstring(node) or ""):
            scope = {"np": np, "jitnet": jitnet}
            examples = parser.get_doctest(ast.get_docstring(node), scope, getattr(node, "name", path.stem), name(path), 0)
            report = io.StringIO()
            runner.run(examples, out=report.write)
            assert runner.failures == 0, report.getvalue()


def test_commands_are_the_same_everywhere():
    """README's test command is what CI runs, and its files exist."""
    readme, ci = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    commands = [text.strip() for _, language, text, _ in blocks(readme) if language == "sh"]
    setup, test = commands[1].split(" && ")
    assert test in ci
    assert setup.removeprefix("pip install ") in ci
    for command in commands:
        for word in re.findall(r"\S+\.py\b", command):
            assert (ROOT / word).exists(), word


def test_contributing_maps_every_file():
    """One line per file: what stands in the map exists, and every module of the package stands in the map."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    mapped = set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))
    present = {name(path) for folder in ("jitnet", "examples", "tests/benchmarks") for path in (ROOT / folder).glob("**/*.py")
               if path.name != "__init__.py" or path.parent == ROOT / "jitnet"}
    assert sorted(present - mapped) == []
    assert sorted(entry for entry in mapped if not (ROOT / entry).exists()) == []


def imported(path):
    """The modules of jitnet that a module imports as it is loaded, as paths."""
    modules = {name(p): p for p in (ROOT / "jitnet").glob("**/*.py")}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            base = "/".join([*name(path).split("/")[:-node.level], *(node.module or "").split(".")]).rstrip("/")
            for alias in node.names:
                found = {f"{base}/{alias.name}.py", f"{base}.py"} & modules.keys()
                yield from sorted(found)[:1] if f"{base}/{alias.name}.py" in found else found


def test_modules_import_what_stands_above_them_in_the_map():
    """The map is an order in which the code can be read: no cycles. (Some imports wait until a function runs.)"""
    rows = re.findall(r"^\| `(jitnet/[^`]+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    place = {row: k for k, row in enumerate(rows)}
    wrong = [f"{row} imports {other}" for row in rows[1:] for other in imported(ROOT / row)
             if other in place and place[other] > place[row]]
    assert rows[0] == "jitnet/__init__.py" and wrong == []
    assert "jitnet/errors.py" in imported(ROOT / "jitnet/jit.py")
