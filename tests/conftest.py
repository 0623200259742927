"""Stands here so that pytest puts this directory on the path, and tests can import `fakes`."""
