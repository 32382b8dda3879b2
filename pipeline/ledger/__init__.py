"""The database: what was seen, decided, reviewed; queries by intent.

port.py     what goes in and comes out, without SQLAlchemy
tables.py   the tables
ledger.py   `Ledger`: every read and write
migrations/ the schema's history (Alembic)
"""
