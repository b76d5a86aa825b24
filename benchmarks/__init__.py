"""Side-by-side speed measurements; never part of the tests."""
