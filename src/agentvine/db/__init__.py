"""The database platform: engine, sessions, types, dialect, hints, migrations."""
