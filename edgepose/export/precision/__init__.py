"""Graphs in lower precision: FP16, INT8, and what of them stays as it was."""
