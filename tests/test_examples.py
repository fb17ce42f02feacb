"""Every example runs, agrees with NumPy, and shows what it says it shows."""
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import jitnet

ROOT = pathlib.Path(__file__).resolve().parent.parent

black_scholes = pytest.importorskip("black_scholes")
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
pytest.importorskip("rich")

import heat_equation  # noqa: E402
import kmeans  # noqa: E402
import train_mlp  # noqa: E402
import train_module  # noqa: E402
import train_nd  # noqa: E402


def test_mlp_learns_the_digits():
    seen = []
    result = train_mlp.train(report=lambda epoch, loss, accuracy: seen.append(epoch))
    assert seen == list(range(40))
    assert result.accuracies[-1] >= 0.97
    assert result.losses[-1] < 0.05 * result.losses[0]
    assert all(array.dtype == np.float32 for layer in result.layers for array in layer)


def test_mlp_gradient_agrees_with_finite_differences():
    rng = np.random.default_rng(1)
    layers = [(w.astype(np.float64), b + 0.1) for w, b in train_mlp.initial_layers(rng)]
    x, labels = rng.random((5, 64)), rng.integers(0, 10, 5)
    value, gradients = train_mlp.loss_and_gradients(layers, x, labels)
    np.testing.assert_allclose(value, train_mlp.loss(layers, x, labels), rtol=1e-12)
    for k, (weight, bias) in enumerate(layers):
        direction = rng.standard_normal(weight.shape), rng.standard_normal(bias.shape)
        h = 1e-6

        def moved(amount, k=k, pair=(weight, bias), direction=direction):
            changed = list(layers)
            changed[k] = tuple(array + amount * d for array, d in zip(pair, direction))
            return train_mlp.loss(changed, x, labels)
        slope = sum(np.sum(g * d) for g, d in zip(gradients[k], direction))
        np.testing.assert_allclose(slope, (moved(h) - moved(-h)) / (2 * h), rtol=1e-6, atol=1e-9)


def test_mlp_picture(tmp_path):
    result = train_mlp.Result([], [1.0, 0.5], [0.5, 0.9], 0.0)
    train_mlp.save_picture(result, tmp_path / "sub" / "picture.png")
    assert (tmp_path / "sub" / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_module_learns_the_digits(tmp_path):
    seen = []
    result = train_module.train(epochs=12, report=lambda epoch, accuracy: seen.append(epoch))
    assert seen == list(range(12)) and len(result.trained) == 12
    assert result.held_out[-1] >= 0.97 and result.trained[-1] > 0.99
    train_module.save_picture(result, tmp_path / "sub" / "picture.png")
    assert (tmp_path / "sub" / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_module_learns_the_digits_on_two_devices():
    one, two = (train_module.train(epochs=3, context=c) for c in (jitnet.cpu(), [jitnet.cpu(0), jitnet.cpu(1)]))
    np.testing.assert_allclose(two.held_out, one.held_out, atol=0.02)  # rounding grows over the steps


def test_imperative_network_learns_the_digits(tmp_path):
    result = train_nd.train(epochs=12)
    assert result.accuracies[-1] >= 0.97 and result.losses[-1] < 0.05 * result.losses[0]
    train_nd.save_picture(result, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").exists()


def test_black_scholes_prices_and_greeks(capsys):
    price_difference, greek_difference = black_scholes.main(n=1000)
    assert price_difference < 1e-11
    assert greek_difference < 1e-11
    assert "largest difference" in capsys.readouterr().out


def test_heat_equation(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(heat_equation, "PICTURE", tmp_path / "heat.png")
    assert heat_equation.main(size=64, steps=20) < 1e-5
    assert (tmp_path / "heat.png").exists()
    assert "heat left in the plate" in capsys.readouterr().out


def test_kmeans(capsys):
    assert kmeans.main(rounds=5) < 1e-9
    assert "purity" in capsys.readouterr().out


def test_the_main_job_as_a_command():
    """README's command for the main job, to the letter, except for the number of epochs."""
    code = "import sys; sys.path.insert(0, 'examples'); import train_mlp; train_mlp.main(epochs=2)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "accuracy on the held-out fifth: 0." in done.stdout
