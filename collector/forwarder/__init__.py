"""Forwarding: each lane's events sealed into batches, sent, and settled by what came of it."""
