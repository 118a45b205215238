"""Runtimes behind one protocol (:mod:`edgepose.runtime.base`)."""
