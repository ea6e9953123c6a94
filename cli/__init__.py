"""One command, `mmre`."""
