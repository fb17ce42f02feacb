"""Prices of a million European call options, and how they react to the market (the Greeks), by Black and Scholes' formula.

    python examples/black_scholes.py

The price is plain NumPy code, with SciPy's erf. Its Greeks are not written down: `grad` and `vmap` derive them, exactly.
"""
import numpy as np
from scipy.special import erf

import jitnet
from side_by_side import compare


def normal_cdf(x):
    return 0.5 * (1 + erf(x * 0.7071067811865476))


def price(spot, strike, years, volatility, rate):
    """What the right to buy at `strike` in `years` is worth now, when the thing costs `spot`."""
    spread = volatility * np.sqrt(years)
    d1 = (np.log(spot / strike) + (rate + 0.5 * volatility * volatility) * years) / spread
    return spot * normal_cdf(d1) - strike * np.exp(-rate * years) * normal_cdf(d1 - spread)


def greeks_by_hand(spot, strike, years, volatility, rate):
    """(delta, vega): the textbook's derivatives of the price by the spot price and by the volatility."""
    spread = volatility * np.sqrt(years)
    d1 = (np.log(spot / strike) + (rate + 0.5 * volatility * volatility) * years) / spread
    return normal_cdf(d1), spot * np.sqrt(years) * np.exp(-0.5 * d1 * d1) * 0.3989422804014327


compiled_price = jitnet.jit(price)
greeks = jitnet.jit(jitnet.vmap(jitnet.grad(price, argnums=(0, 3)), in_axes=(0, 0, 0, 0, None)))


def market(n, seed=0):
    """n options in float64: (spot, strike, years, volatility, rate)."""
    rng = np.random.default_rng(seed)
    return rng.uniform(50, 150, n), rng.uniform(50, 150, n), rng.uniform(0.1, 2, n), rng.uniform(0.1, 0.5, n), 0.02


def main(n=1_000_000):
    options = market(n)
    values, price_difference = compare(f"{n:,} prices", price, compiled_price, *options)
    (delta, vega), greek_difference = compare("delta and vega (NumPy's by hand)", greeks_by_hand, greeks, *options)
    print(f"the first option: {options[0][0]:.2f} against a strike of {options[1][0]:.2f}, {options[2][0]:.2f} years: "
          f"worth {values[0]:.3f}, delta {delta[0]:.3f}, vega {vega[0]:.2f}")
    return price_difference, greek_difference


if __name__ == "__main__":
    main()
