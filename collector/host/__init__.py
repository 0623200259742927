"""What the operating system gives: clocks, names, signals, logs, the service manager."""
