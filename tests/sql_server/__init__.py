"""A stand-in for SQL Server, for the tests."""

from pathlib import Path

# What has `import pyodbc` find the stand-in, on the path of modules.
DRIVER_FOLDER = Path(__file__).parent / "driver"


def url(file: Path) -> str:
    """The DATABASE_URL of a file of the stand-in."""
    return f"mssql+pyodbc://stand-in/{file}?driver=stand-in"
