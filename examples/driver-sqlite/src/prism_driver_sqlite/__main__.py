"""`python -m prism_driver_sqlite --sqlite-path keys.db` serves the keys in a file."""

from prism import serve_driver
from prism_driver_sqlite import DRIVER, SqliteDriver

if __name__ == "__main__":
    serve_driver(SqliteDriver, name=DRIVER.name, version=DRIVER.version)
