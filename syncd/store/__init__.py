"""SQL, the only memory. Functions here are plain functions over a SQLAlchemy `Connection`, the same on both databases.

Whatever differs between SQLite and PostgreSQL is in `syncd.store.dialect`.
"""
