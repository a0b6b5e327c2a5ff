"""Pieces of text into rows of one length: first-fit decreasing beside its definition, and the copying of ids."""

from textmill.ops.packing.cpu import first_fit_decreasing
from textmill.ops.packing.runs import copy_runs

__all__ = ["copy_runs", "first_fit_decreasing"]
