"""What all commands share: options, sources, the runner, stderr reporting and the manual pages."""
