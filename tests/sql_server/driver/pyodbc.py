"""What `import pyodbc` finds where this folder comes first on the path of modules: the stand-in."""

import sys
from importlib.machinery import PathFinder
from pathlib import Path

from tests.sql_server.dbapi import Driver

stand_in = Driver()
# Whether the genuine one is installed can still be asked.
others = [folder for folder in sys.path if Path(folder) != Path(__file__).parent]
stand_in.__spec__ = PathFinder.find_spec(__name__, others)  # type: ignore[attr-defined]
sys.modules[__name__] = stand_in  # type: ignore[assignment] - SQLAlchemy asks for no more than what a module has
