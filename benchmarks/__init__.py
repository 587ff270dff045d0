"""Speed and accuracy against peers and papers: `python -m benchmarks.filters`."""
