from two_threads import two_threads  # noqa: F401  (a fixture: pytest finds it by its name)
