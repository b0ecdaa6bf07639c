"""Benchmarks of antscache beside other tools: `python -m benchmarks`; the results are in docs/benchmarks.md."""
