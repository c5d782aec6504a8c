"""The one import name. Its packages stand at the top of the repository; links beside this file lead there.

An editable install puts this folder's parent on the path, and mypy and pytest look there too; a wheel holds the
folders themselves under these names (pyproject.toml, tool.hatch).
"""
