"""Compiles the request path (kongdp/compiled.py names its modules); every other fact about the package stands in pyproject.toml.

Without a compiler or Cython, or with KONGDP_PURE set, the package installs all the same and its Python sources serve (`kongdp version`
says which). All modules are compiled or none: a failure leaves none behind.
"""

import importlib.util
import os
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError

ROOT = Path(__file__).resolve().parent
spec = importlib.util.spec_from_file_location("compiled", ROOT / "kongdp" / "compiled.py")
compiled = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compiled)

JOBS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
# debug information would double the compiler's time; symbols, which profilers read, stay
# KONGDP_OPTIMIZE=-O0 builds in a third of the time what only has to be there
FLAGS = [os.environ.get("KONGDP_OPTIMIZE", "-O2"), "-g0", "-Wno-unused-function", "-Wno-unreachable-code"]
# types come from the .pxd files alone: an annotation is for readers and mypy
DIRECTIVES = {"language_level": 3, "annotation_typing": False, "show_performance_hints": False}


def extensions():
    if os.environ.get(compiled.PURE, "0") not in ("", "0"):
        return []
    try:
        from Cython.Build import cythonize
        from Cython.Compiler import Options
    except ImportError:
        return []
    Options.emit_code_comments = False
    files = {
        path.with_suffix("").relative_to(ROOT): path.suffix for path in compiled.sources() if path.suffix != ".pxd"
    }
    wanted = [
        Extension(".".join(stem.parts), [str(stem.with_suffix(suffix))], extra_compile_args=FLAGS)
        for stem, suffix in files.items()
    ]
    return cythonize(wanted, build_dir="build/cython", nthreads=JOBS, compiler_directives=DIRECTIVES, quiet=True)


class BuildTogether(build_ext):
    """Builds every extension or none, and notes in a checkout which sources they came from."""

    def run(self):
        self.parallel = self.parallel or JOBS
        in_checkout = self.inplace or self.editable_mode
        began_with = compiled.digest()
        super().run()
        if in_checkout:
            remove_extensions(but=[extension.name for extension in self.extensions])
            compiled.STAMP.write_text(began_with)

    def build_extensions(self):
        try:
            super().build_extensions()
        except (BaseError, CCompilerError, OSError) as problem:
            print(f"kongdp: the request path was not compiled ({problem}); its Python sources serve")
            for extension in self.extensions:
                Path(self.get_ext_fullpath(extension.name)).unlink(missing_ok=True)
            self.extensions = []


def remove_extensions(*, but):
    """An extension that was not built now must not stay beside its source: it would be what Python imports."""
    kept = {compiled.extension_of(name) for name in but}
    for suffix in EXTENSION_SUFFIXES:
        for path in ROOT.joinpath("kongdp").rglob(f"*{suffix}"):
            if path not in kept:
                path.unlink()


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildTogether})
