"""Copies of batches that are made late: whoever looks sees what a copy made at once would hold."""
import numpy as np
import pytest

import jitnet as mx
from jitnet import nd
from jitnet.nd.late import Late

ROWS = np.arange(12, dtype=np.float32).reshape(6, 2)


def bound(batch_size=3):
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2, no_bias=True, name="fc")
    module = mx.mod.Module(mx.sym.make_loss(net), label_names=None)
    module.bind([("data", (batch_size, 2))])
    module.init_params(mx.init.One())
    return module, module._exec_group.execs[0]


def gradient(module):
    module.backward()
    return module._exec_group.execs[0].grad_dict["fc_weight"].asnumpy().tolist()


@pytest.mark.parametrize("write", [lambda x: x.__setitem__(slice(None), 0), lambda x: x[1:].__imul__(0),
                                   lambda x: np.asarray(x).fill(0), lambda x: x.reshape((-1,)).__setitem__(slice(None), 0)])
@pytest.mark.parametrize("look", [False, True])
def test_a_batch_that_is_written_after_forward(write, look):
    module, ex = bound()
    batch = nd.array(ROWS[:3])
    module.forward(mx.io.DataBatch([batch]), is_train=True)
    assert type(ex.arg_dict["data"]._pending) is Late
    write(batch)
    if look:
        assert ex.arg_dict["data"].asnumpy().tolist() == ROWS[:3].tolist()
    assert gradient(module) == [ROWS[:3].sum(0).tolist()] * 2
    assert ex.arg_dict["data"].asnumpy().tolist() == ROWS[:3].tolist()


def test_inputs_are_arrays_as_any_other_once_seen():
    module, ex = bound()
    for k in range(3):
        module.forward(mx.io.DataBatch([nd.array(ROWS[k:k + 3])]), is_train=True)
        data = ex.arg_dict["data"]
        view = data[0:1]
        assert view.asnumpy().tolist() == ROWS[k:k + 1].tolist()
        data[:] = 1
        assert gradient(module) == [[3.0, 3.0]] * 2
    module.forward(mx.io.DataBatch([nd.array(ROWS[:3])]), is_train=False)
    assert view.asnumpy().tolist() == ROWS[:1].tolist()


def test_batches_of_memory_that_others_write_are_copied():
    outside = ROWS[:3].copy()
    module, ex = bound()
    module.forward(mx.io.DataBatch([nd.from_numpy(outside)]), is_train=True)
    outside[:] = 0
    assert gradient(module) == [ROWS[:3].sum(0).tolist()] * 2
    assert ex.outputs[0].asnumpy().tolist() == [[1.0, 1.0], [5.0, 5.0], [9.0, 9.0]]


def test_batches_of_other_dtypes_are_converted():
    module, _ = bound()
    module.forward(mx.io.DataBatch([nd.array(ROWS[:3], dtype="int32")]), is_train=True)
    assert gradient(module) == [ROWS[:3].sum(0).tolist()] * 2


def test_rows_of_an_iterator_are_copies():
    data = nd.array(ROWS)
    batches = mx.io.NDArrayIter(data, batch_size=3)
    first, second = batches.next().data[0], batches.next().data[0]
    assert (first.shape, first.dtype, second.size) == ((3, 2), np.float32, 6)
    first[:] = 7
    assert data.asnumpy().tolist() == ROWS.tolist()
    data[:] = 9
    assert second.asnumpy().tolist() == ROWS[3:].tolist()
    assert first.asnumpy().tolist() == [[7.0, 7.0]] * 3
    batches.reset()
    batch = batches.next().data[0]
    np.asarray(data)[:] = 4
    assert batch.asnumpy().tolist() == [[9.0, 9.0]] * 3
    batches.reset()
    assert batches.next().data[0].asnumpy().tolist() == [[4.0, 4.0]] * 3


def test_a_module_reads_rows_of_an_iterator_where_they_lie():
    module, ex = bound()
    batches = mx.io.NDArrayIter(ROWS, batch_size=3)
    whole = batches.data[0][1]._data
    for k, batch in enumerate(batches):
        module.forward(batch, is_train=True)
        assert np.shares_memory(ex.arg_dict["data"]._pending.current, whole)
        assert gradient(module) == [ROWS[3 * k:3 * k + 3].sum(0).tolist()] * 2
        assert batch.data[0].asnumpy().tolist() == ROWS[3 * k:3 * k + 3].tolist()
