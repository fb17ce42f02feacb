"""Everything that one library says of the symbols of graphs.py: `python ask.py LIBRARY OWN_FILES OTHER_FILES OUTPUT.npz`.

Each symbol is saved among OWN_FILES; what is asked is asked of the symbol that the other library saved, if there is one.
"""
import importlib
import json
import pathlib
import sys

import graphs
import numpy as np


def write(mx, folder):
    """Saves every symbol."""
    for number, (expression, _) in enumerate(graphs.GRAPHS.values()):
        before = mx.name.NameManager()
        with before:
            scope = {"mx": mx, **{name: mx.sym.Variable(name) for name in "xyw"}}
            symbol = eval(expression, scope)
        with before:  # a Prefix that the expression has entered is left
            symbol.save(str(folder / f"{number}.json"))


def results(mx, folder):
    """Name of what was asked -> array or text, of the symbols in a folder."""
    found = {}
    for number, (_, shapes) in enumerate(graphs.GRAPHS.values()):
        symbol = mx.sym.load(str(folder / f"{number}.json"))
        said = {"arguments": symbol.list_arguments(), "outputs": symbol.list_outputs(), "inputs": symbol.list_inputs(),
                "states": symbol.list_auxiliary_states(), "name": symbol.name, "attributes": symbol.attr_dict(),
                "shapes": symbol.infer_shape(**shapes), "partial": symbol.infer_shape_partial(**shapes),
                "types": [part and [np.dtype(t).name for t in part] for part in symbol.infer_type(**dict.fromkeys(
                    shapes, "float32"))],
                "internals": symbol.get_internals().list_outputs(), "text": symbol.tojson(), "debug": symbol.debug_str()}
        found.update({f"{number}.{key}": np.array(json.dumps(value, sort_keys=True)) for key, value in said.items()})
        found.update({f"{number}.{key}": value for key, value in run(mx, symbol, shapes).items()})
    return found


def run(mx, symbol, shapes):
    """Outputs, gradients and states of a training step with made-up arrays, then of a prediction."""
    ex = symbol.simple_bind(mx.cpu(), **shapes)
    r = np.random.RandomState(5)
    for name, array in sorted(ex.arg_dict.items()):
        label = name.endswith("label") or (len(array.shape) == 1 and name == "x")
        array[:] = r.randint(0, 3, array.shape) if label else r.uniform(-1, 1, array.shape).round(2)
    for name, array in ex.aux_dict.items():
        array[:] = 1 if name.endswith("var") else 0.25
    outputs = [o.copy() for o in ex.forward(is_train=True)]
    ex.backward([mx.nd.ones(o.shape) * (k + 1) for k, o in enumerate(outputs)])
    found = {f"output {k}": o.asnumpy() for k, o in enumerate(outputs)}
    found.update({f"grad {k}": g.asnumpy() for k, g in ex.grad_dict.items()})
    found.update({f"state {k}": s.asnumpy() for k, s in ex.aux_dict.items()})
    found.update({f"prediction {k}": o.asnumpy() for k, o in enumerate(ex.forward())})
    return found


if __name__ == "__main__":
    if sys.argv[1] == "mxnet":
        np.bool = bool  # MXNet 1.9.1 still asks for it
    library = importlib.import_module(sys.argv[1])
    own, other = pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    write(library, own)
    np.savez(sys.argv[4], **results(library, other))
