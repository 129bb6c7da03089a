"""Compiled modules and their sources: what serves when, and that a source and its types agree."""

import os
import re
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from kongdp import compiled

PACKAGE = Path(compiled.__file__).parent

ASK = (
    "import kongdp.proxy.downstream as a, kongdp.http1._head as b, kongdp.compiled as c;"
    "print(a.__file__, b.IS_COMPILED, c.why_not, sep='|')"
)


def test_sources_serve_when_asked_for() -> None:
    """KONGDP_PURE=1 passes compiled modules by, all of them."""
    shown = subprocess.run(
        [sys.executable, "-c", ASK], env={**os.environ, "KONGDP_PURE": "1"}, capture_output=True, check=True, text=True
    )
    assert shown.stdout.split("|") == [str(PACKAGE / "proxy" / "downstream.py"), "False", "KONGDP_PURE is set\n"]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of empty sources with an extension beside each, built from just these."""
    monkeypatch.setattr(compiled, "_PACKAGE", tmp_path)
    monkeypatch.setattr(compiled, "STAMP", tmp_path / "_compiled_from")
    monkeypatch.delenv("KONGDP_PURE", raising=False)
    for name in compiled.MODULES:
        stem = tmp_path.joinpath(*name.split(".")[1:])
        stem.parent.mkdir(parents=True, exist_ok=True)
        stem.with_suffix(".py").touch()
        stem.with_name(stem.name + EXTENSION_SUFFIXES[0]).touch()
    compiled.STAMP.write_text(compiled.digest())
    return tmp_path


def test_sources_serve_when_one_was_edited(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An edited source, or one more type file, is never shadowed by what was compiled before it."""
    assert compiled._why_not() == ""
    (checkout / "proxy" / "tries.pxd").touch()
    assert compiled._why_not() == "older than their sources"
    assert "run .ci/setup" in capsys.readouterr().err
    (checkout / "proxy" / "tries.pxd").unlink()
    assert compiled._why_not() == ""
    (checkout / "proxy" / "tries.py").write_text("edited = True\n")
    assert compiled._why_not() == "older than their sources"


def test_extensions_serve_when_installed_without_a_checkout(checkout: Path) -> None:
    """A wheel has no stamp: what it brought was built together."""
    compiled.STAMP.unlink()
    (checkout / "proxy" / "tries.py").write_text("edited = True\n")
    assert compiled._why_not() == ""


def test_sources_serve_when_an_extension_is_missing(checkout: Path) -> None:
    """Compiled classes know each other's layout, so part of them is none of them."""
    found = compiled.extension_of("kongdp.proxy.tries")
    assert found is not None
    found.unlink()
    assert compiled._why_not() == "not all built"
    for name in compiled.MODULES:
        (compiled.extension_of(name) or checkout / "none").unlink(missing_ok=True)
    assert compiled._why_not() == "not built (no compiler or no Cython at installation)"


def test_every_module_exists_and_every_type_file_has_its_module() -> None:
    """The list, the sources and the .pxd files agree."""
    stems = {PACKAGE.joinpath(*name.split(".")[1:]) for name in compiled.MODULES}
    assert all(stem.with_suffix(".py").exists() for stem in stems)
    assert {path.with_suffix("") for path in PACKAGE.rglob("*.pxd")} <= stems


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.pxd")), ids=lambda path: path.stem)
def test_types_when_a_class_has_slots(path: Path) -> None:
    """Every slot of a class is declared beside it, and nothing else: a compiled class takes no other attribute."""
    source = path.with_suffix(".py").read_text()
    for name, body in re.findall(r"^cdef class (\w+).*?:\n((?: +.*\n|\n)+)", path.read_text(), re.MULTILINE):
        found = re.search(rf"^class {name}\b.*?__slots__ = \((.*?)\)", source, re.MULTILINE | re.DOTALL)
        if found is None or f"class {name}" not in source or "\nclass " in found[0][1:]:
            continue
        slots = set(re.findall(r'"(\w+)"', found[1])) - {"__weakref__"}
        declared = set(re.findall(r"^    cdef (?!\w+ \w+\(|_\w+\().*?(\w+)(?:  #.*)?$", body, re.MULTILINE)) - {
            "__weakref__"
        }
        kernel_only = set(re.findall(r"(\w+)  # the kernel's own$", body, re.MULTILINE))
        assert declared - kernel_only == slots, name
