"""Timings, each one command that writes JSON. Ratios are taken within one run."""
