"""Speed and accuracy: `python -m benchmarks.filters` and `python -m benchmarks.models`."""
