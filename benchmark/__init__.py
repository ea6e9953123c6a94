"""The papers' tables and figures: suites, runs, tables."""
