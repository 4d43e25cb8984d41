"""Nothing that was saved is lost, nothing damaged is believed, nothing foreign is resumed."""

import dataclasses
import logging
import os
import pathlib
import shutil
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from scaling.errors import UserError
from tests.run.checkpoint_cases import (
    abstract,
    assert_same,
    make_state,
    open_checkpointer,
    restore,
    save_two,
)


@pytest.fixture
def saved(tmp_path):
    return save_two(tmp_path)


def test_state_and_host_come_back_together_bit_for_bit(saved):
    restored = restore(saved)
    assert (restored.step, restored.host) == (20, {"data": {"position": 20}})
    assert_same(restored.state, make_state(20))


def test_restores_onto_another_mesh(saved):
    mesh = jax.make_mesh((2, 4), ("x", "y"))
    target = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(
            x.shape,
            x.dtype,
            sharding=NamedSharding(mesh, P("y", "x") if x.ndim == 2 else P()),
        ),
        make_state(),
    )
    restored = open_checkpointer(saved).restore(target)
    assert_same(restored.state, make_state(20))
    assert restored.state.params["w"].addressable_shards[0].data.shape == (4, 8)


def test_state_may_be_donated_while_the_save_runs(tmp_path):
    step = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
    state = make_state(3, size=512)
    want = jax.tree.map(np.array, state)
    checkpointer = open_checkpointer(tmp_path)
    checkpointer.save(3, state, {})
    for _ in range(20):
        state = step(state)
    jax.block_until_ready(state)
    checkpointer.close()
    restored = restore(tmp_path, make_state(3, size=512)).state
    assert np.asarray(restored.params["w"]).tobytes() == want.params["w"].tobytes()


def test_empty_directory_is_a_fresh_start(tmp_path):
    assert restore(tmp_path / "none") is None


def _data_file(step: pathlib.Path) -> pathlib.Path:
    return max((p for p in step.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def _flip(path: pathlib.Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def _truncate(step):
    os.truncate(_data_file(step), 100)


def _empty_file(step):
    os.truncate(_data_file(step), 0)


def _flip_data(step):
    _flip(_data_file(step))


def _flip_manifest(step):
    _flip(step / "manifest.json")


def _empty_directory(step):
    shutil.rmtree(step)
    step.mkdir()


def _lose_arrays(step):
    shutil.rmtree(step / "arrays")


def _lose_manifest(step):
    (step / "manifest.json").unlink()


@pytest.mark.parametrize(
    "damage",
    [
        _truncate,
        _empty_file,
        _flip_data,
        _flip_manifest,
        _empty_directory,
        _lose_arrays,
        _lose_manifest,
    ],
)
def test_damaged_newest_falls_back_and_says_so(saved, damage, caplog):
    damage(saved / "step_0000000020")
    with caplog.at_level(logging.WARNING):
        restored = restore(saved)
    assert restored.step == 10
    assert_same(restored.state, make_state(10))
    assert "step_0000000020 is damaged" in caplog.text
    assert "last good checkpoint, step 10" in caplog.text


def test_a_flipped_bit_in_any_file_is_found(saved):
    newest = saved / "step_0000000020"
    names = [p.relative_to(newest) for p in newest.rglob("*") if p.is_file() and p.stat().st_size]
    assert len(names) >= 6
    for name in names:
        whole = (newest / name).read_bytes()
        _flip(newest / name)
        assert restore(saved).step == 10, name
        os.rename(saved / "step_0000000020.damaged", newest)
        (newest / name).write_bytes(whole)
    assert restore(saved).step == 20


def test_damaged_settings_are_damage_not_other_settings(saved, caplog):
    path = saved / "step_0000000020" / "manifest.json"
    text = path.read_text()
    assert '"batch_size": 32' in text
    path.write_text(text.replace('"batch_size": 32', '"batch_size": 33'))
    assert restore(saved).step == 10
    assert "manifest.json: checksum differs" in caplog.text


def test_damaged_ones_do_not_push_good_ones_out(saved):
    """keep_last counts good checkpoints; what was set aside goes with the next good save."""
    _truncate(saved / "step_0000000020")
    checkpointer = open_checkpointer(saved, keep_last=2)
    checkpointer.restore(abstract(make_state()))
    assert checkpointer.steps() == [10]
    assert (saved / "step_0000000020.damaged").exists()
    checkpointer.save(15, make_state(15), {})
    checkpointer.save(20, make_state(20), {})
    checkpointer.close()
    assert sorted(p.name for p in saved.iterdir()) == ["step_0000000015", "step_0000000020"]
    assert_same(restore(saved).state, make_state(20))


def test_all_damaged_is_a_fresh_start_that_is_announced(saved, caplog):
    for step in saved.iterdir():
        _truncate(step)
    with caplog.at_level(logging.WARNING):
        assert restore(saved) is None
    assert "no good checkpoint" in caplog.text


def test_leftovers_of_dead_processes_go_and_nothing_else(saved):
    (saved / "step_0000000030.scaling-tmp" / "arrays").mkdir(parents=True)
    (saved / "step_0000000030.mine").mkdir()
    (saved / "notes").mkdir()
    (saved / "elsewhere").mkdir()
    (saved / "step_0000000040.scaling-tmp").symlink_to(saved / "elsewhere")
    open_checkpointer(saved).close()
    assert sorted(p.name for p in saved.iterdir()) == [
        "elsewhere",
        "notes",
        "step_0000000010",
        "step_0000000020",
        "step_0000000030.mine",
        "step_0000000040.scaling-tmp",
    ]


def test_keep_last_and_keep_every(tmp_path):
    checkpointer = open_checkpointer(tmp_path, keep_last=2, keep_every=4)
    for step in range(1, 11):
        checkpointer.save(step, make_state(step), {})
    checkpointer.close()
    assert checkpointer.steps() == [4, 8, 9, 10]


def test_saving_the_same_step_again_changes_nothing(saved):
    checkpointer = open_checkpointer(saved)
    checkpointer.restore(abstract(make_state()))
    before = (saved / "step_0000000020").stat().st_mtime_ns
    checkpointer.save(20, make_state(20), {})
    checkpointer.close()
    assert (saved / "step_0000000020").stat().st_mtime_ns == before


def test_changed_settings_are_refused_by_name(saved):
    other = {"run_id": "1" * 16, "config": {"train": {"batch_size": 64}, "seed": 0}, "data": "x"}
    with pytest.raises(UserError) as caught:
        restore(saved, fingerprint=other)
    text = str(caught.value)
    assert "config.train.batch_size: 32 -> 64" in text
    assert "data: (absent) -> 'x'" in text
    assert "seed" not in text
    assert restore(saved).step == 20


def _cast(state):
    return dataclasses.replace(
        state, params=state.params | {"w": state.params["w"].astype(jnp.bfloat16)}
    )


def _grow(state):
    w = jnp.zeros((32, 16), jnp.float32)
    return dataclasses.replace(state, params=state.params | {"w": w})


def _rename(state):
    return dataclasses.replace(state, params={"b.c/d": state.params["b.c/d"], "v": state.step})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_cast, r"params.w is float32\[16, 16\], .* needs bfloat16\[16, 16\]"),
        (_grow, r"params.w is float32\[16, 16\], .* needs float32\[32, 16\]"),
        (_rename, r"params.v is absent, .* needs int32\[\]"),
    ],
)
def test_other_leaves_are_refused_not_cast(saved, change, message):
    with pytest.raises(UserError, match=message):
        restore(saved, change(make_state()))
    assert restore(saved).step == 20


def test_secrets_of_the_config_are_not_on_disk(tmp_path):
    checkpointer = open_checkpointer(
        tmp_path, fingerprint={"config": {"api_key": "hunter2hunter2"}}
    )
    checkpointer.save(1, make_state(), {})
    checkpointer.close()
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert files
    assert not any(b"hunter2" in p.read_bytes() for p in files)


def test_host_state_must_be_json(tmp_path):
    checkpointer = open_checkpointer(tmp_path)
    with pytest.raises(ValueError, match="JSON"):
        checkpointer.save(1, make_state(), {"loss": float("nan")})
    checkpointer.close()
    assert list(tmp_path.iterdir()) == []


def test_a_crash_of_the_loop_does_not_lose_the_save_in_flight(tmp_path):
    def loop():
        with open_checkpointer(tmp_path) as checkpointer:
            checkpointer.save(5, make_state(5), {})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        loop()
    assert_same(restore(tmp_path).state, make_state(5))


def test_blocking_part_of_a_small_save_is_short(tmp_path):
    checkpointer = open_checkpointer(tmp_path)
    checkpointer.save(1, make_state(), {})  # imports Orbax
    times = []
    for step in range(2, 8):
        checkpointer.wait()
        start = time.perf_counter()
        checkpointer.save(step, make_state(), {})
        times.append(time.perf_counter() - start)
    checkpointer.close()
    # About 0.02 s on a quiet core; a save that waits for the disk is ten times that.
    assert min(times) < 0.2


def test_keep_nothing_is_bad_input(tmp_path):
    with pytest.raises(UserError, match="keep_last=0"):
        open_checkpointer(tmp_path, keep_last=0)
    with pytest.raises(UserError, match="keep_every=0"):
        open_checkpointer(tmp_path, keep_every=0)
