"""The control plane's database: tables, engine, rows per runtime group, migrations."""
