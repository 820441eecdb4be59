"""One module per subcommand: the only place where the rooms meet, and a library for users."""
