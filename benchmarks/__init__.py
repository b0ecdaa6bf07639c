"""antscache beside the tools people would use instead: `python -m benchmarks`, and docs/benchmarks.md."""
