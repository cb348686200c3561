"""Benchmarks. Each is a command that writes JSON, with ratios taken within a single process."""
