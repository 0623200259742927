"""Installing the daemon as a service: first a plan that can be shown, then what carries it out."""
