"""The version of Prism. The build reads it from here, and the program needs no metadata."""

VERSION = "0.1.0"
