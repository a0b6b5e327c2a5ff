"""What writes the generated pages of `docs/`: `make docs`, which is `python -m docs.build`."""
