"""The command line as `python -m antscache`."""

from antscache.cli import main

main()
