"""The package etcd3, an independent client, reads what edge has written, and edge reads what etcd3 has written.

The package's generated code is too old for the current protobuf. It is loaded in a separate process with protobuf's
pure Python implementation, as protobuf's error message advises.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from edge.terms.ports import Write

if TYPE_CHECKING:
    from worlds import InEtcd

READ = """
import json, sys, etcd3
client = etcd3.client("127.0.0.1", int(sys.argv[1]), timeout=10)
assert isinstance(client, etcd3.Etcd3Client)
prefix = sys.argv[2]
found = [
    [meta.key.decode(), value.decode("latin-1"), meta.mod_revision, int(meta.lease_id)]
    for value, meta in client.get_prefix(prefix)
]
lease = client.lease(60)
client.put(prefix + "/theirs", b"from \\xff etcd3", lease=lease)
done, _ = client.transaction(
    compare=[client.transactions.version(prefix + "/new") == 0],
    success=[client.transactions.put(prefix + "/new", "1")],
    failure=[],
)
client.delete(prefix + "/gone")
print(json.dumps({"found": found, "lease": lease.id, "done": done}))
"""


async def run(code: str, *words: str) -> Any:
    """Run Python code in a separate process; return its JSON output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"},
    )
    out, err = await asyncio.wait_for(process.communicate(), 40)
    assert process.returncode == 0, err.decode()
    return json.loads(out)


async def test_etcd3_and_edge_see_the_same(etcd: InEtcd) -> None:
    """Keys, values, revisions and leases of edge are the same in etcd3, and edge sees etcd3's changes."""
    store = etcd.client()
    lease = await store.grant(60)
    first = await store.put("nodes/a", b"\x00\xff bytes", lease=lease)
    made = await store.txn((), (Write("nodes/b", b"2"), Write("gone", b"3")))
    port = str(etcd.cluster.members[0].client_port)
    said = await run(READ, port, etcd.prefix)
    assert sorted(said["found"]) == [
        [f"{etcd.prefix}/gone", "3", made, 0],
        [f"{etcd.prefix}/nodes/a", "\x00\xff bytes", first, lease],
        [f"{etcd.prefix}/nodes/b", "2", made, 0],
    ]
    assert said["done"] is True
    theirs = await store.get("theirs")
    assert (theirs.value, theirs.lease) == (b"from \xff etcd3", said["lease"])
    assert [item.key for item in (await store.list("")).items] == ["new", "nodes/a", "nodes/b", "theirs"]
