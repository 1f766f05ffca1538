"""A root of some 100,000 documents out of the quickstart's: `packages` and `quality`, 144 copies of each row and its ledger row, ids anew.

python tests/bench/view/make_root.py runs/quickstart runs/big
"""

import hashlib
import sys

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.schema import STR
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store

root, out = sys.argv[1:3]
rows, quality = Store(f"{root}/packages").table(), Store(f"{root}/quality")
ledger, ids = quality.ledgers(), rows["id"].to_pylist()
at = {row_id: number for number, row_id in enumerate(ledger["id"].to_pylist())}
ledger = ledger.take([at[row_id] for row_id in ids])
raw, kept = Store(f"{out}/packages"), Store(f"{out}/quality")
for shard in range(4):
    tables, ledgers = [], []
    for copy in range(36):
        new = pa.array([hashlib.md5(f"{row_id}{shard}{copy}".encode()).hexdigest() for row_id in ids], STR)
        tables.append(rows.set_column(0, rows.schema.field(0), new))
        own = pc.if_else(pc.is_null(ledger["reason"]), new, pa.scalar(None, STR))
        ledgers.append(
            ledger.set_column(0, ledger.schema.field(0), new).set_column(1, ledger.schema.field(1), own.cast(STR))
        )
    table, said = pa.concat_tables(tables), pa.concat_tables(ledgers)
    raw.put(shard, table, Ledger.rows(table["id"]), key="k", stage="ingest")
    kept.put(shard, table.filter(pc.is_null(said["reason"])), said, key="k", stage="quality")
columns = [{"name": field.name, "type": str(field.type)} for field in rows.schema]
raw.commit_manifest({"stage": "ingest", "shape": "DOCUMENT", "key": "k", "schema": columns}, range(4))
page = {"stage": "quality", "shape": "DOCUMENT", "key": "k", "schema": columns, "options": quality.require()["options"]}
kept.commit_manifest({**page, "lineage": {"of": [{"store": "packages"}]}}, range(4))
print(f"{raw.require()['rows']:,} rows, {raw.require()['bytes']:,} bytes")
