"""Sphinx configuration."""

from ecgvision import __version__

project = "ecgvision"
author = "The ecgvision contributors"
copyright = "the ecgvision contributors, Apache License 2.0"
release = version = __version__

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"ecgvision {__version__}"
