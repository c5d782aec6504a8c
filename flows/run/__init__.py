"""One execution of a flow: options, progress, report, exclusive access to sources."""
