"""The tests. Beside them, :mod:`tests.support` has everything that tests share."""
