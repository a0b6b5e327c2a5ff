"""Pure functions on numbers and arrays that say how good a thing is."""
