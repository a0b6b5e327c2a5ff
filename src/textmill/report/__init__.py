"""Plots, the HTML report, and model cards, all made from one `ReportData`."""
