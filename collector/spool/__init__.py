"""The spool: accepted events on disk, each lane's way through them, and what became of each."""
