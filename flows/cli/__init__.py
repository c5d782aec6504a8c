"""The command `pgfolio`: its arguments, what it prints, its exit codes."""
