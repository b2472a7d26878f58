"""Figures: of a sweep's table, of the paper's study, of a survey and of advice, in one style."""

from lagc_jax._tables import select
from lagc_jax.plots._style import COLUMN_WIDTH, PAGE_WIDTH, scheme_style, style
from lagc_jax.plots.bits import plot_bits
from lagc_jax.plots.frontier import plot_design, plot_frontier
from lagc_jax.plots.heat import plot_heat_map
from lagc_jax.plots.lines import plot_lines
from lagc_jax.plots.paper import (
    plot_curves,
    plot_quantiles,
    plot_redundancy,
    plot_tail,
    save_drawing,
    save_figure,
)
from lagc_jax.plots.survey import plot_costs, plot_survey
from lagc_jax.plots.sweep import Picture, draw

__all__ = [
    "COLUMN_WIDTH",
    "PAGE_WIDTH",
    "Picture",
    "draw",
    "plot_bits",
    "plot_costs",
    "plot_curves",
    "plot_design",
    "plot_frontier",
    "plot_heat_map",
    "plot_lines",
    "plot_quantiles",
    "plot_redundancy",
    "plot_survey",
    "plot_tail",
    "save_drawing",
    "save_figure",
    "scheme_style",
    "select",
    "style",
]
