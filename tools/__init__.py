"""Programs that write data files of the package; run by hand, seldom."""
