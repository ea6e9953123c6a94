"""Weights on their places in a picture: from what the model sees of it to a grid over the picture itself."""

import numpy as np

from mmre.processing.focal_augmentation import Box


def grid_edges(count: int) -> np.ndarray:
    """Return the edges of `count` equal parts of a side, in fractions of it: (count + 1,)."""
    return np.linspace(0.0, 1.0, count + 1)


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return which share of each part of one axis lies in each part of another.

    Args:
        first: edges of N parts, rising, (N + 1,).
        second: edges of M parts on the same scale, (M + 1,).

    Returns:
        Shares (N, M); a row sums to one if the part lies within the other axis, to less where it sticks out.
    """
    start = np.maximum(first[:-1, None], second[None, :-1])
    end = np.minimum(first[1:, None], second[None, 1:])
    return np.clip(end - start, 0.0, None) / np.diff(first)[:, None]


def on_picture(weights: np.ndarray, shown: Box, grid: tuple[int, int]) -> np.ndarray:
    """Lay the weights of patches on their places in the picture.

    A patch's weight is spread evenly over what the patch covers. What lies outside the picture is lost.

    Args:
        weights: of the patches of what the model sees, from top to bottom and from left to right (rows, columns).
        shown: the part of the picture that the model sees there, in fractions of the picture.
        grid: rows and columns of the grid over the picture.

    Returns:
        The weights of the grid's cells; their sum is that of the patches that lie within the picture.
    """
    x_min, y_min, x_max, y_max = shown
    rows = y_min + (y_max - y_min) * grid_edges(weights.shape[0])
    columns = x_min + (x_max - x_min) * grid_edges(weights.shape[1])
    return overlaps(rows, grid_edges(grid[0])).T @ weights @ overlaps(columns, grid_edges(grid[1]))


def cell_pixels(cell: int, grid: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the pixels of a cell: left, top, right and bottom edge, right and bottom exclusive.

    Args:
        cell: its number, row by row.
        grid: rows and columns of the grid.
        size: width and height of the picture in pixels.
    """
    row, column = divmod(cell, grid[1])
    (left, right), (top, bottom) = (
        (round(size[axis] * part / count), round(size[axis] * (part + 1) / count))
        for axis, part, count in ((0, column, grid[1]), (1, row, grid[0]))
    )
    return left, top, right, bottom


__all__ = ["cell_pixels", "grid_edges", "on_picture", "overlaps"]
