"""One thin file per subcommand: its signature, its help and one call into its stage."""
