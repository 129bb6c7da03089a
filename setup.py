"""Builds the optional native kernel of the head passes; every other fact about the package stands in pyproject.toml.

Without a compiler or Cython the package installs all the same and the plain-Python twin serves (`kongdp version` says which).
"""

from pathlib import Path

from setuptools import Extension, setup

KERNEL = Path("kongdp/http1/_head.pyx")


def extensions():
    if not KERNEL.exists():
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    found = cythonize([Extension("kongdp.http1._head", [str(KERNEL)], extra_compile_args=["-O3"])])
    for extension in found:
        # a failed compilation leaves the extension out and does not fail the installation; cythonize drops the flag
        extension.optional = True
    return found


setup(ext_modules=extensions())
