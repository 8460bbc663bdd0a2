"""Synthetic data sets with known truth, written to disk in the frames format and read like real data."""
