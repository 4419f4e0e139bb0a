"""That this file is here puts its folder on the path: tests in folders below import `compare_runs`."""
