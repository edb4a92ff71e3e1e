"""The build: a wheel also holds the jobs, clusters and search spaces, which lie next to the package in a checkout."""

from pathlib import Path
from shutil import copytree, ignore_patterns

from setuptools import setup
from setuptools.command.build_py import build_py

FOLDERS = ("jobs", "clusters", "search_spaces")


class BuildWithShippedFiles(build_py):
    """Copies them into the package, where `raycner.shipped` finds them."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for folder in FOLDERS:
                target = Path(self.build_lib, "raycner", "shipped_files", folder)
                copytree(folder, target, dirs_exist_ok=True, ignore=ignore_patterns("__pycache__"))


setup(cmdclass={"build_py": BuildWithShippedFiles})
