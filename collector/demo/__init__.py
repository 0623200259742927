"""The demo: a daemon, an upstream and a bad day, as processes on one machine."""
