"""What somebody tries in the first hour and gets wrong: the error names the line that was written, and what was meant."""
import copy
import logging
import pickle
import sys
import traceback
import types

import numpy as np
import pytest

import jitnet
from jitnet import errors
from jitnet.errors import Source


def lines(error):
    """What, where without file and number, the way out."""
    what, where, hint = str(error.value).split("\n")
    return what, where.partition(": ")[2], hint.strip()


def test_an_array_from_outside_cannot_be_written_to():
    total, kept = np.zeros(3), jitnet.asarray(np.zeros(3))

    @jitnet.jit
    def element(x):
        total[0] = x[0]

    @jitnet.jit
    def whole(x):
        total[:] = x

    @jitnet.jit
    def slice_of_an_array(x):
        kept[1:2] = x.sum()

    for function, line, kind in ((element, "total[0] = x[0]", "f64[]"), (whole, "total[:] = x", "f64[3]"),
                                 (slice_of_an_array, "kept[1:2] = x.sum()", "f64[]")):
        with pytest.raises(errors.TraceBranchError) as error:
            function(np.ones(3))
        assert lines(error) == (
            f"an array that is written to is not traced, and cannot hold a traced {kind}", line,
            "make it inside the function with `jitnet.numpy.zeros` or `jitnet.numpy.array`, or pass it as an argument")
    assert total.tolist() == kept.tolist() == [0, 0, 0]


def test_a_misspelled_method():
    with pytest.raises(errors.TraceAttributeError) as error:
        jitnet.jit(lambda x: x.summ())(np.ones(3))
    assert lines(error)[0] == "a traced array has no attribute 'summ'" and lines(error)[2] == "did you mean `sum`?"
    with pytest.raises(errors.TraceAttributeError) as error:
        jitnet.jit(lambda x: x.at[0].set(1))(np.ones(3))
    assert lines(error)[2] == "write into the array itself: `x[i] = v`; `x = x.copy()` before it keeps the argument"
    with pytest.raises(errors.TraceAttributeError, match=r"Generator\(seed\)` holds its state"):
        jitnet.random.PRNGKey(0)
    with pytest.raises(errors.TraceAttributeError) as error:
        jitnet.jit(lambda x: x.quux)(np.ones(3))
    assert lines(error)[2] == "it has the attributes and methods of NumPy's arrays"


def test_a_misspelled_name_of_a_module():
    """Python itself says what was meant: it looks at these attributes of the error."""
    for module in (jitnet, jitnet.random, jitnet.nd, jitnet.sym):
        with pytest.raises(AttributeError) as error:
            module.unifrom  # noqa: B018
        assert error.value.name == "unifrom" and error.value.obj is module


def test_logged_errors_of_a_running_program_show_the_users_frames_alone(caplog):
    """Of the first call, which comes from Python, and of the next, which native code makes."""
    @jitnet.jit
    def pick(x, i):
        return x[i]

    for _ in range(2):
        pick(np.ones(3), 2)
        try:
            pick(np.ones(3), 5)
        except errors.TraceIndexError:
            logging.getLogger("first hour").exception("a call failed")
    for record in caplog.records:
        text = "".join(traceback.format_exception(*record.exc_info))
        assert text.count("Traceback") == 1 and text.count("  File ") == 1 and "return x[i]" in text
    assert len(caplog.records) == 2


def test_lines_of_libraries_that_convert_are_not_the_users(tmp_path):
    """pandas asks a traced value for its elements; the line is the one that handed it over."""
    path = tmp_path / "site-packages" / "pandas" / "core.py"
    path.parent.mkdir(parents=True)
    path.write_text("import numpy as np\n\n\ndef sanitized(data):\n    return np.asarray(data)\n")
    scope = {}
    exec(compile(path.read_text(), str(path), "exec"), scope)
    with pytest.raises(errors.TraceBranchError) as error:
        jitnet.jit(lambda x: scope["sanitized"](x))(np.ones(3))
    assert lines(error)[1] == 'jitnet.jit(lambda x: scope["sanitized"](x))(np.ones(3))'


def test_cells_of_a_notebook_have_the_names_that_ipython_shows(monkeypatch):
    name = "/tmp/ipykernel_7/3928234.py"
    assert Source(name, 2).place == "3928234.py:2"   # the cell of another process
    compiler = types.SimpleNamespace(format_code_name=lambda file: ("Cell", "In[4]") if file == name else None)
    shell = types.SimpleNamespace(compile=compiler)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    scope = {"np": np}
    exec(compile("def half(x):\n    return np.tanh(x) / 2\n", name, "exec"), scope)
    assert str(jitnet.jit(scope["half"]).graph(np.ones(3))).count("In[4]:2") == 2
    assert Source("/tmp/ipython_notes.py", 3).place == "ipython_notes.py:3"


def test_errors_come_out_of_a_pickle_as_they_were():
    """As those of a worker process do."""
    with pytest.raises(errors.TraceTypeError) as caught:
        jitnet.jit(lambda x: x + np.ones(4))(np.ones(3))
    error = caught.value
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error) and str(again) == str(error) and len(str(again).splitlines()) == 3
        assert (again.what, again.hint, again.source) == (error.what, error.hint, error.source)


def test_static_and_class_methods_are_decorated_first():
    with pytest.raises(errors.TraceTypeError) as error:
        class Model:
            @jitnet.jit
            @staticmethod
            def step(x):
                return x + 1
    assert lines(error) == ("jit: a staticmethod is what a class makes of a function", "@jitnet.jit",
                            "decorate the function itself: `@jit` below `@staticmethod`")

    class Better:
        @staticmethod
        @jitnet.jit
        def step(x):
            return x + 1

        @classmethod
        @jitnet.jit
        def made(cls, x):
            return x + 2

    assert Better.step(np.ones(1)) == Better().step(np.ones(1)) == 2 and Better.made(np.ones(1)) == 3


def test_operators_of_nd_in_a_compiled_function():
    with pytest.raises(errors.OperatorError) as error:
        jitnet.jit(lambda x: jitnet.nd.exp(x))(np.ones(3))
    assert lines(error)[0] == "exp: argument data must be an NDArray, got Tracer"
    assert lines(error)[2] == "in a compiled function use NumPy's functions"
