"""dead_code: equations nobody reads, and what loops, branches and calls carry along for nobody."""
from jitnet.ir import check_graph
from jitnet.passes.dead_code import dead_code


def test_chain_that_nobody_reads(graphs):
    _, result = graphs.rewrites(dead_code, "f32[3], f32[3]", "x, unused", """
        a = exp(x)
        b = multiply(a, unused)
        c = add(b, f32(1.0))
        return negative(a)
    """, """
        a = exp(x)
        b = negative(a)
        return b
    """)
    assert len(result.inputs) == 2  # the user passes them


def test_nothing_to_do(graphs):
    body = graphs.from_text("f32[], f32[]", "c, x", "return add(c, x), exp(x)")
    graph = graphs.scan("f32[], f32[5]", "c, xs", body)
    assert dead_code(graph) is graph




def scan_graph(graphs, returned):
    body = graphs.from_text("f32[], f32[], f32[], f32[], f32[], f32[], f32[], f32[]", "k, unread, a, b, c, d, x, z",
                            "return add(a, b), multiply(b, k), add(c, x), exp(d), multiply(a, z), negative(x)")
    return graphs.from_text("f32[], f32[], f32[5], f32[5]", "k, s, xs, zs", f"""
        t = tanh(s)
        a, b, c, d, y, u = scan(k, t, s, s, t, s, xs, zs, body=body, num_consts=2, num_carry=4, length=5, reverse=False)
        return {returned}
    """, body=body)


def test_scan_loses_carries_ys_consts_and_xs(graphs):
    graph = scan_graph(graphs, "a")
    result = check_graph(dead_code(graph))
    (eqn,) = result.eqns  # tanh went with the operands that read it
    assert (eqn.params["num_consts"], eqn.params["num_carry"], len(eqn.inputs), len(eqn.outputs)) == (1, 2, 3, 2)
    assert graphs.body(eqn.params["body"]) == "c = add(a, b)\nd = multiply(b, k)\nreturn c, d"
    graphs.same_meaning(graph, result)


def test_scan_keeps_what_a_y_needs(graphs):
    graph = scan_graph(graphs, "y")
    result = check_graph(dead_code(graph))
    (eqn,) = result.eqns
    assert (eqn.params["num_consts"], eqn.params["num_carry"], len(eqn.inputs), len(eqn.outputs)) == (1, 2, 4, 3)
    graphs.same_meaning(graph, result)


def test_scan_keeps_a_carry_that_is_returned(graphs):
    graph = scan_graph(graphs, "d, u")
    result = check_graph(dead_code(graph))
    (eqn,) = result.eqns
    assert (eqn.params["num_consts"], eqn.params["num_carry"], len(eqn.inputs), len(eqn.outputs)) == (0, 1, 2, 2)
    graphs.same_meaning(graph, result)


def test_long_chains_of_carries(graphs):
    """Each carry is read by the one before: whoever returns the first needs all."""
    n = 40
    names = [f"c{k}" for k in range(n)]
    types, arguments = ", ".join(["f32[]"] * n), ", ".join(names)
    sums = [f"add({a}, {b})" for a, b in zip(names, names[1:])]
    body = graphs.from_text(types, arguments, "return " + ", ".join(sums + names[-1:]))
    for wanted, left in ((0, n), (n - 3, 3)):
        graph = graphs.scan(types, arguments, body, num_carry=n, length=3, wanted=f"[{wanted}]")
        result = check_graph(dead_code(graph))
        assert result.eqns[0].params["num_carry"] == left
        graphs.same_meaning(graph, result, draws=3)


def while_graph(graphs, returned):
    cond = graphs.from_text("i64[], f32[], i64[], f32[], f32[]", "n, unread, i, a, b", "return less(i, n)")
    body = graphs.from_text("f32[], f32[], i64[], f32[], f32[]", "k, m, i, a, b",
                            "return add(i, i64(1)), multiply(a, k), add(multiply(b, m), a)")
    return graphs.from_text("f32[], f32[]", "k, m", f"""
        t = tanh(m)
        i, a, b = while_loop(i64(5), t, k, t, i64(0), k, t, cond=cond, body=body, cond_consts=2, body_consts=2)
        return {returned}
    """, cond=cond, body=body)


def test_while_loop_keeps_what_the_condition_reads(graphs):
    graph = while_graph(graphs, "a")
    result = check_graph(dead_code(graph))
    (eqn,) = result.eqns
    assert (eqn.params["cond_consts"], eqn.params["body_consts"], len(eqn.inputs), len(eqn.outputs)) == (1, 1, 4, 2)
    graphs.same_meaning(graph, result)


def test_while_loop_with_all_of_its_carry(graphs):
    graph = while_graph(graphs, "b")
    result = check_graph(dead_code(graph))
    eqn = result.eqns[-1]
    assert (eqn.params["cond_consts"], eqn.params["body_consts"], len(eqn.inputs), len(eqn.outputs)) == (1, 2, 6, 3)
    graphs.same_meaning(graph, result)


def test_switch_loses_outputs_and_operands(graphs):
    texts = ("exp(a), add(b, c)", "negative(b), multiply(a, c)")
    branches = tuple(graphs.from_text("f32[], f32[], f32[]", "a, b, c", f"return {text}") for text in texts)
    graph = graphs.from_text("i64[], f32[], f32[]", "i, x, y", """
        t = tanh(y)
        a, b = switch(i, x, y, t, branches=branches)
        return a
    """, branches=branches)
    result = check_graph(dead_code(graph))
    (eqn,) = result.eqns
    assert (len(eqn.inputs), len(eqn.outputs)) == (3, 1)
    assert [graphs.ops(g) for g in eqn.params["branches"]] == [["exp"], ["negative"]]
    graphs.same_meaning(graph, result)


def test_call_loses_outputs_and_operands(graphs):
    inner = graphs.from_text("f32[], f32[]", "a, b", "return exp(a), exp(b)")
    text = "a, b = call(x, y, graph=inner, kind='recompute', rule=None)\nreturn b"
    graph = graphs.from_text("f32[], f32[]", "x, y", text, inner=inner)
    result = check_graph(dead_code(graph))
    (eqn,) = result.eqns
    assert [len(v) for v in (eqn.inputs, eqn.outputs, eqn.params["graph"].eqns)] == [1, 1, 1]
    graphs.same_meaning(graph, result)


def test_loops_in_loops(graphs):
    inner = graphs.from_text("f32[], f32[], f32[]", "a, b, x", "return add(a, x), exp(b)")
    outer = graphs.from_text("f32[], f32[], f32[], f32[5]", "a, b, x, zs", """
        c, d = scan(a, b, zs, body=inner, num_consts=0, num_carry=2, length=5, reverse=False)
        return add(c, x), d
    """, inner=inner)
    body = outer.replace(inputs=(outer.inputs[3], *outer.inputs[:3]))  # zs is a const of the outer loop
    graph = graphs.scan("f32[5], f32[], f32[], f32[5]", "zs, a, b, xs", body, num_consts=1, num_carry=2, wanted="[0]")
    result = check_graph(dead_code(graph))
    loop = result.eqns[0].params["body"].eqns[0]
    assert (result.eqns[0].params["num_carry"], loop.params["num_carry"], graphs.ops(loop.params["body"])) == (1, 1, ["add"])
    graphs.same_meaning(graph, result)
