"""`python -m antscache` is `antscache`."""

from antscache.cli import main

main()
