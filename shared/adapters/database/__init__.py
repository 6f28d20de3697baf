"""The ledgers on a SQL database: SQLite, PostgreSQL, Azure SQL."""
