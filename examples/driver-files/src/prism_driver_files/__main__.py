"""`python -m prism_driver_files --files-path keys` serves the keys in a folder."""

from prism import serve_driver
from prism_driver_files import DRIVER, FilesDriver

if __name__ == "__main__":
    serve_driver(FilesDriver, name=DRIVER.name, version=DRIVER.version)
