"""Two processes save one checkpoint, agree on what is damaged, and one process can take over."""

import socket
import subprocess
import sys

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from scaling.run.checkpoint import Checkpointer

_PROGRAM = """
import logging, sys
import jax, numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
from scaling.run.checkpoint import Checkpointer, CheckpointError

address, index, directory, mode = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
logging.basicConfig(level=logging.WARNING)
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(address, 2, index)
sharding = NamedSharding(jax.make_mesh((4,), ("data",)), P("data"))

def state(step):
    whole = np.arange(8, dtype=np.float32) + step
    return {"w": jax.make_array_from_callback((8,), sharding, lambda i: whole[i])}

with Checkpointer(directory, fingerprint={}) as checkpointer:
    if mode == "save":
        for step in (10, 20):
            checkpointer.save(step, state(step), {"step": step})
        checkpointer.wait()
        # Only the first process meets the full disk; both must hear of it.
        if index == 0:
            import scaling.run.checkpoint as module
            def fail(*_): raise OSError(28, "No space left on device")
            module.write_manifest = fail
        checkpointer.save(30, state(30), {})
        try:
            checkpointer.wait()
        except CheckpointError as error:
            print("refused:", error)
    else:
        target = {"w": jax.ShapeDtypeStruct((8,), np.float32, sharding=sharding)}
        restored = checkpointer.restore(target)
        local = [np.asarray(s.data).tolist() for s in restored.state["w"].addressable_shards]
        print("restored", restored.step, restored.host, local)
"""


def _pair(directory, mode):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, address, str(index), str(directory), mode],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    try:
        outputs = [p.communicate(timeout=120) for p in processes]
    finally:
        for process in processes:
            process.kill()
    assert [p.returncode for p in processes] == [0, 0], outputs
    return [out for out, _ in outputs]


def test_two_processes(tmp_path):
    refusals = _pair(tmp_path, "save")
    assert "the disk is full" in refusals[0]
    assert "refused: another process failed" in refusals[1]

    def names():
        return sorted(p.name for p in tmp_path.iterdir())

    assert names() == ["step_0000000010", "step_0000000020"]
    # One process takes over what two have saved.
    sharding = NamedSharding(jax.make_mesh((8,), ("x",)), P("x"))
    target = {"w": jax.ShapeDtypeStruct((8,), np.float32, sharding=sharding)}
    with Checkpointer(tmp_path, fingerprint={}) as checkpointer:
        restored = checkpointer.restore(target)
    assert np.asarray(restored.state["w"]).tolist() == [float(20 + i) for i in range(8)]
    # Damage that only one of the two processes reads sends both to the step before.
    (tmp_path / "step_0000000020" / "host.json").write_text("{}")
    first, second = (out.splitlines()[-1] for out in _pair(tmp_path, "restore"))
    assert first == "restored 10 {'step': 10} [[10.0, 11.0], [12.0, 13.0]]"
    assert second == "restored 10 {'step': 10} [[14.0, 15.0], [16.0, 17.0]]"
    assert names() == ["step_0000000010", "step_0000000020.damaged"]
