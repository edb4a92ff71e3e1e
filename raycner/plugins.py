"""Plugins: modules and files, named by the user, whose classes register themselves before settings are read.

Only the command line, a job file or the Python API may name a plugin; one is never taken from data, a ledger or a
store. A file must be at the same path on every node, a module installed on every node.
"""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

from raycner.addresses import refuse_secret
from raycner.errors import InputError


def load_plugins(names: Iterable[str]) -> None:
    """Import each plugin once. Raises `InputError` if one cannot be imported."""
    for name in names:
        refuse_secret(name, "plugins")
        try:
            if name.endswith(".py"):
                _import_file(Path(name))
            else:
                importlib.import_module(name)
        except InputError:
            raise
        except Exception as error:
            line = f"{name} cannot be imported ({type(error).__name__}: {error})"
            hint = "name a module that Python finds, or a file that ends in .py"
            raise InputError(line, location="plugins", hint=hint) from error


def _import_file(path: Path) -> None:
    """Import a file under a name of its own, which is the same in every process."""
    path = path.expanduser().absolute()
    name = f"raycner_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file", location="plugins", hint="name a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
