"""The memory plan: blocks of the arena under random lifetimes, last uses through views, outputs in place, bytes taken over."""
import numpy as np
import pytest

from jitnet import ops
from jitnet.compile import compile_graph
from jitnet.ir import definitions, eval_graph
from jitnet.passes.plan import (
    ALIGNMENT,
    RESTING,
    RESTING_BYTES,
    SMALL,
    Arena,
    base_of,
    contiguous_base,
    last_uses,
    output_places,
    overwrites,
    updated_in_place,
    written_after_reads,
)

# The arena

@pytest.mark.parametrize("rests", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_live_blocks_never_overlap(seed, rests):
    rng = np.random.default_rng(seed)
    arena, live = Arena(rests), []
    for _ in range(500):
        if live and rng.integers(5) < 2:
            arena.free(*live.pop(rng.integers(len(live))))
        else:
            nbytes = int(rng.integers(0, 1000))
            live.append((arena.allocate(nbytes), nbytes))
        ends = sorted((offset, offset + max(nbytes, 1)) for offset, nbytes in live)
        assert all(end <= start for (_, end), (start, _) in zip(ends, ends[1:]))
        assert all(offset % ALIGNMENT == 0 for offset, _ in ends)
        assert all(end <= arena.size for _, end in ends)


def test_freed_bytes_are_used_again():
    arena = Arena()
    first, second = arena.allocate(1000), arena.allocate(1000)
    arena.free(first, 1000)
    assert arena.allocate(900) == first
    assert arena.size == 2048
    assert second == 1024


def test_freed_bytes_wait_where_steps_may_run_beside_one_another():
    arena = Arena(rests=True)
    blocks = [arena.allocate(100_000) for _ in range(RESTING + 1)]
    size = arena.size
    for offset in blocks:
        arena.free(offset, 100_000)
    assert [arena.allocate(100_000) for _ in range(2)] == [blocks[0], size]   # the others still wait


def test_small_values_lie_apart_from_large_ones():
    arena = Arena(rests=True)
    large = arena.allocate(RESTING_BYTES)
    arena.free(large, RESTING_BYTES)
    for nbytes in (RESTING_BYTES, 64):
        arena.free(arena.allocate(nbytes), nbytes)   # by now the first one is free
    assert arena.allocate(64) >= RESTING_BYTES
    assert arena.allocate(SMALL + 1) == large


def test_freed_neighbours_become_one_block():
    arena = Arena()
    blocks = [arena.allocate(64) for _ in range(4)]
    for k in (0, 2, 1):   # the last one joins the other two
        arena.free(blocks[k], 64)
    assert arena.allocate(192) == blocks[0]
    assert arena.size == 256


def test_the_smallest_block_that_fits_is_taken():
    arena = Arena()
    large, _, small, _ = (arena.allocate(n) for n in (512, 64, 128, 64))
    arena.free(large, 512)
    arena.free(small, 128)
    assert arena.allocate(128) == small


def test_a_free_end_grows():
    arena = Arena()
    arena.allocate(64)
    last = arena.allocate(64)
    arena.free(last, 64)
    assert arena.allocate(640) == last
    assert arena.size == 704


def test_all_freed_leaves_one_block():
    rng, arena = np.random.default_rng(0), Arena()
    live = [(arena.allocate(int(n)), int(n)) for n in rng.integers(1, 500, 50)]
    for k in rng.permutation(50):
        arena.free(*live[k])
    size = arena.size
    assert arena.allocate(size) == 0
    assert arena.size == size


# Lifetimes

def by_name(graph):
    """Name of an op -> the first output of its (only) equation."""
    return {eqn.op.name: eqn.outputs[0] for eqn in graph.eqns}


def test_values_die_with_their_last_reader(graphs):
    graph = graphs.from_text("f32[4]", "x", """
        a = exp(x)
        b = sin(a)
        c = cos(a)
        return add(b, c)
    """)
    v = by_name(graph)
    table = {k: set(dying) for k, dying in last_uses(graph).items()}
    assert table == {0: {graph.inputs[0]}, 2: {v["exp"]}, 3: {v["sin"], v["cos"]}, 4: {v["add"]}}   # 4: outputs live to the end


def test_a_value_lives_as_long_as_its_views(graphs):
    graph = graphs.from_text("f32[4,5]", "x", """
        a = exp(x)
        b = transpose(a, axes=(1, 0))
        c = reshape(b, shape=(20,))
        d = sin(x)
        return multiply(c, 2.0), d
    """)
    v, definition = by_name(graph), definitions(graph)
    assert base_of(v["reshape"], definition) is v["exp"]
    assert contiguous_base(v["reshape"], definition) is v["transpose"]   # other bytes than exp's
    table = last_uses(graph)
    assert table[4] == [v["exp"]]
    assert v["reshape"] not in [u for dying in table.values() for u in dying]


def test_values_that_nobody_reads_die_at_once(graphs):
    graph = graphs.build("f32[4]", lambda x: [ops.exp(x) * 0 + 1, ops.sin(x)][1])
    dying = {u for vs in last_uses(graph).values() for u in vs}
    assert dying >= {out for eqn in graph.eqns for out in eqn.outputs}


# Outputs

def test_outputs_are_computed_in_place(graphs):
    graph = graphs.from_text("f32[4,5]", "x", """
        a = exp(x)
        b = reshape(a, shape=(20,))
        c = sin(x)
        d = transpose(c, axes=(1, 0))
        return b, a, c, d, x
    """)
    v = by_name(graph)
    assert output_places(graph) == {v["exp"]: 0, v["sin"]: 2}   # a second place, a strided view and an input are copied


# Bytes taken over

UPDATE = "update_slice({x}, {v}, start=(0,), step=(1,))"


@pytest.mark.parametrize(("last", "taken"), [
    ("return u", True),
    ("return multiply(u, a)", False),                          # the old value is read later
    ("return u, reshape(a, shape=(2, 2))", False),             # through a view as well
])
def test_a_dying_value_is_changed_in_place(graphs, last, taken):
    graph = graphs.from_text("f32[4], f32[2]", "x, v", f"a = exp(x)\nu = {UPDATE.format(x='a', v='v')}\n{last}")
    (k, eqn), = ((k, eqn) for k, eqn in enumerate(graph.eqns) if eqn.op.name == "update_slice")
    found = overwrites(eqn, definitions(graph), last_uses(graph).get(k, []))
    assert found is (graph.eqns[0].outputs[0] if taken else None)


def test_a_value_written_into_itself_is_copied(graphs):
    graph = graphs.from_text("f32[4]", "x", """
        a = exp(x)
        s = slice(a, start=(1,), size=(2,), step=(1,))
        return update_slice(a, s, start=(0,), step=(1,))
    """)
    assert overwrites(graph.eqns[-1], definitions(graph), last_uses(graph)[2]) is None


def test_loop_carries_that_may_stay_where_they_are(graphs):
    """What a loop's body does with its carry: changes it, computes it whole after the last read of it, or needs both."""
    changed = graphs.from_text("f32[4], f32[2]", "c, v", "return " + UPDATE.format(x="c", v="v"))
    whole = graphs.from_text("f32[4], f32[4]", "c, v", "a = add(c, v)\nreturn multiply(v, 2.0), a")
    both = graphs.from_text("f32[4], f32[4]", "c, v", "a = exp(v)\nreturn a, multiply(c, a)")
    assert updated_in_place(changed, 0, changed.inputs[0])
    assert not updated_in_place(whole, 0, whole.inputs[0])
    assert written_after_reads(whole, 0, whole.inputs[0])
    assert not written_after_reads(both, 0, both.inputs[0])


def test_programs_use_bytes_again(graphs, rng):
    """Ten products in a row need two temporaries at a time, and four wait."""
    def function(x):
        for _ in range(10):
            x = ops.matmul(x, x) * 0.01
        return x

    graph = graphs.build("f32[32,32]", function)
    compiled = compile_graph(graph)
    assert compiled.program.arena_bytes <= 6 * 32 * 32 * 4 + 64 * 64   # and status cells
    x = rng.standard_normal((32, 32)).astype(np.float32)
    np.testing.assert_allclose(compiled.run([x])[0], eval_graph(graph, x)[0], rtol=1e-4)
