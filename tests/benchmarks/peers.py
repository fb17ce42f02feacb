"""The controller's side of a worker: starts it, asks, and starts it again when it dies. Finds the environments of peers."""
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NAMES = ("jitnet", "numpy", "jax", "torch", "torch.compile", "mxnet")


def can_import(python, module):
    """True where this interpreter has the module; nothing is imported."""
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    try:
        return subprocess.run([python, "-c", code], env=environment(), capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def environment(**extra):
    """This process's environment with the checkout on the path; Python keeps bytecode, which installed peers come with."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), **extra}


def find_pythons(given, names=NAMES):
    """{peer: interpreter}: as given (peer=path), else this interpreter, else an environment beside it named after the peer."""
    chosen = dict(entry.split("=", 1) for entry in given)
    beside = pathlib.Path(sys.prefix).parent
    pythons = {}
    for name in names:
        module = name.split(".")[0]
        asked = chosen.get(name) or chosen.get(module)
        for python in [asked] if asked else [sys.executable, str(beside / module / "bin" / "python")]:
            if can_import(python, module):
                pythons[name] = python
                break
        else:
            if asked:
                raise SystemExit(f"{asked} cannot import {module}")
    return pythons


class Peer:
    """One framework's worker process."""

    def __init__(self, name, python, log, **extra):
        self.name, self.python, self.log, self.extra = name, python, log, extra
        self.start()

    def start(self):
        self.process = subprocess.Popen([self.python, *self.program()], env=environment(**self.extra),
                                        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log)
        self.hello = self.answer()

    def program(self):
        return str(HERE / "worker.py"), self.name

    def answer(self):
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"ok": False, "why": "the worker process died"}

    def ask(self, **request):
        """The worker's answer, {"ok": True, ...} or {"ok": False, "why": ...}."""
        if self.process.poll() is not None:
            self.start()
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return {"ok": False, "why": "the worker process died"}
        return self.answer()

    def stop(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
