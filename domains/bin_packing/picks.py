"""Boxes like those of warehouse orders: products in a row, some of them again later, with sides and weights.

Calibrated to the marginals of 3,353 lines of 227 real orders of a consumer-goods warehouse:

* an order holds heavy products only (45 % of orders), light ones only (12 %) or both (45 % of their products are
  light), so that about a third of the lines are light;
* a line takes a product that the order has had before with probability 0.68: in just over half of these cases that of
  the line before, else that of a line drawn uniformly;
* logarithms of a product's longest, middle and shortest side are normal with a common factor, means and deviations by
  class; the box stands on its shortest side in every possible way, with the observed frequencies of which of the three
  points up;
* its density is log-normal by class around a regression on its volume (at the mean volume 0.41 kg per litre for heavy
  and 0.10 for light products); its quantity in a line has the observed frequencies by class, with the smaller half of
  the products ordered in larger numbers (means 2.4 and 1.7 for heavy ones, 1.7 and 1.05 for light ones).

Quantiles of sides and weights over boxes then lie within 15 % of the real ones between the quarters; the lightest tenth
of the boxes is heavier than in reality (2.1 against 1.5 kg).

Lines follow one another until the boxes exceed the volume of the bins of an episode: one long order, because real ones
fill a pallet by a quarter on average and would say nothing about packing.
"""

import math

import numpy as np
from numba import njit

from interlock.domains.bin_packing.draws import choose, normal, uniform

# Row 0: heavy products, row 1: light ones; columns: longest, middle, shortest side.
_MEAN_LOG_CM = np.array([[3.407, 3.120, 2.896], [3.702, 3.329, 3.096]])
_SPREAD_LOG_CM = np.array([[0.195, 0.145, 0.187], [0.181, 0.179, 0.250]])
_LEAST_CM = np.array([[14.5, 11.3, 8.1], [24.8, 15.3, 13.5]])
_MOST_CM = np.array([[50.5, 30.5, 26.8], [53.4, 37.3, 35.4]])
_COMMON = 0.42
"""Correlation of the logarithms of two sides of a product of a class."""
_POINTS_UP = np.array([[0.11, 0.66, 0.23], [0.01, 0.24, 0.75]])
"""Chances that the longest, middle and shortest side points up."""
_MEAN_LOG_LITRES = np.array([2.516, 3.219])
_MEAN_LOG_DENSITY = np.array([-0.899, -2.313])  # kg per litre, at the mean of the logarithm of the volume
_SLOPE_LOG_DENSITY = np.array([-0.318, -0.067])
_SPREAD_LOG_DENSITY = np.array([0.253, 0.205])
_LEAST_DENSITY, _MOST_DENSITY = 0.065, 0.70
_QUANTITIES = np.array([1, 2, 3, 4, 6, 10])
_QUANTITY_CHANCES = np.array(  # large heavy, small heavy, large light, small light products
    [
        [0.41, 0.49, 0.07, 0.03, 0.00, 0.00],
        [0.27, 0.45, 0.13, 0.07, 0.06, 0.02],
        [0.95, 0.05, 0.00, 0.00, 0.00, 0.00],
        [0.55, 0.33, 0.07, 0.02, 0.02, 0.01],
    ]
)
_HEAVY_ONLY, _LIGHT_ONLY, _LIGHT_IN_MIXED = 0.45, 0.12, 0.45
_AGAIN, _AGAIN_THE_LAST = 0.68, 0.53


def most_boxes(volume: int, cells_per_cm: float, low: int, high: int) -> int:
    """Most boxes that an order of ``draw_picks`` with the same arguments can have."""
    smallest = np.ceil(_LEAST_CM.min(axis=0) * cells_per_cm * (1.0 - 1e-9)).clip(low, high)
    return int(volume // int(smallest.prod())) + 1


@njit(cache=True)
def _product(state, light, cells_per_cm, low, high, item):
    """Draw a product: writes its sides in cells (length at least width); returns its weight and if it is small."""
    common = normal(state)
    sides = np.empty(3)
    for k in range(3):
        wave = math.sqrt(_COMMON) * common + math.sqrt(1.0 - _COMMON) * normal(state)
        side = math.exp(_MEAN_LOG_CM[light, k] + _SPREAD_LOG_CM[light, k] * wave)
        sides[k] = min(max(side, _LEAST_CM[light, k]), _MOST_CM[light, k])
    sides = np.sort(sides)[::-1]
    litres = sides[0] * sides[1] * sides[2] / 1000.0
    up = choose(state, _POINTS_UP[light])
    along_x, along_y = (1 if up == 0 else 0), (1 if up == 2 else 2)
    for axis, k in ((0, along_x), (1, along_y), (2, up)):
        item[axis] = min(max(math.ceil(sides[k] * cells_per_cm * (1.0 - 1e-9)), low), high)
    larger = math.log(litres) - _MEAN_LOG_LITRES[light]
    wave = _SLOPE_LOG_DENSITY[light] * larger + _SPREAD_LOG_DENSITY[light] * normal(state)
    density = math.exp(_MEAN_LOG_DENSITY[light] + wave)
    return litres * min(max(density, _LEAST_DENSITY), _MOST_DENSITY), int(larger < 0.0)


@njit(cache=True)
def draw_picks(state, cells_per_cm, low, high, volume, items, weights):
    """Write the boxes of one long order; returns how many there are.

    Args:
        state: of the generator.
        cells_per_cm: grid cells per centimetre; sides are rounded up to whole cells.
        low: sides are at least this many cells.
        high: sides are at most this many cells.
        volume: the order ends with the first box by which the boxes exceed this many cells, or at the end of ``items``.
        items: int16 ``(M, 3)``, overwritten from the front.
        weights: float64 ``(M,)``, kg, overwritten from the front.
    """
    kind = choose(state, np.array([_HEAVY_ONLY, _LIGHT_ONLY, 1.0 - _HEAVY_ONLY - _LIGHT_ONLY]))
    share_light = _LIGHT_IN_MIXED if kind == 2 else float(kind)
    first_of_line = np.empty(items.shape[0], np.int64)
    ordered = np.empty(items.shape[0], np.int64)
    lines, count, total = 0, 0, 0
    while count < items.shape[0] and total <= volume:
        if lines > 0 and uniform(state) <= _AGAIN:
            again = lines - 1
            if uniform(state) > _AGAIN_THE_LAST:
                again = min(int(uniform(state) * lines), lines - 1)
            source = first_of_line[again]
            row = ordered[again]
            items[count] = items[source]
            weights[count] = weights[source]
        else:
            light = 1 if uniform(state) <= share_light else 0
            weights[count], small = _product(state, light, cells_per_cm, low, high, items[count])
            row = 2 * light + small
        first_of_line[lines], ordered[lines] = count, row
        lines += 1
        box = int(items[count, 0]) * int(items[count, 1]) * int(items[count, 2])
        for k in range(_QUANTITIES[choose(state, _QUANTITY_CHANCES[row])]):
            if count == items.shape[0] or total > volume:
                break
            if k > 0:
                items[count] = items[count - 1]
                weights[count] = weights[count - 1]
            total += box
            count += 1
    return count
