"""The figure of bits to an accuracy."""

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lagc_jax._tables import check_columns
from lagc_jax.plots._style import COLUMN_WIDTH, STYLE, scheme_style
from lagc_jax.plots._ticks import thin_ticks

MECHANISMS = {"direct": "QSGD"}  # a mechanism looks as its best known scheme


def plot_bits(frame: pd.DataFrame) -> Figure:
    """Bits to the target of every compressor, a mark a mechanism; descent is a line.

    What did not reach the target has no mark.

    Args:
        frame: of `experiments.bits.bits_frame`.

    Raises:
        ValueError: for another frame.
    """
    columns = ("mechanism", "compressor", "bits")
    check_columns("frame", frame, columns, "that of experiments.bits.bits_frame")
    plain = frame["mechanism"] == "GD"
    rows = frame[~plain]
    compressors = list(rows["compressor"].unique())[::-1]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1.3 * COLUMN_WIDTH, 2.8), layout="constrained")
        axis = figure.subplots()
        for name, each in rows.groupby("mechanism", sort=False):
            known = each[np.isfinite(each["bits"])]
            look: dict[str, Any] = {
                **scheme_style(MECHANISMS.get(str(name), str(name))),
                "linestyle": "none",
                "label": str(name),
            }
            places = [compressors.index(one) for one in known["compressor"]]
            axis.plot(known["bits"], places, **look)
        for bits in frame.loc[plain & np.isfinite(frame["bits"]), "bits"]:
            axis.axvline(bits, color=scheme_style("GD")["color"], label="GD")
        axis.set_yticks(range(len(compressors)), compressors)
        if np.isfinite(frame["bits"]).any():
            axis.set_xscale("log")
            thin_ticks(axis.xaxis)
        axis.set_xlabel("Bits to the server until the target")
        figure.legend(loc="outside upper center", ncols=5)
    return figure
