"""The suites: the experiments of both papers, and what is possible without a look at the picture."""

from .suite import Cell, Suite
from .suites_focalmre import FOCALMRE_SUITES
from .suites_tgdi import TGDI_SUITES

BASELINE = "text_only_mnre"  # MTB, trained as TGDI is: what the picture adds is the difference

SUITES = {
    **FOCALMRE_SUITES,
    **TGDI_SUITES,
    "baselines": Suite(
        title="what is possible without a look at the picture",
        cells=(
            Cell("text only", "mtb", recipe=BASELINE),
            Cell("text + caption", "mtb", {"use_caption": True}, recipe=BASELINE),
            Cell(
                "text + number of grounded regions",
                "mtb",
                {"use_caption": True, "region_count_as_caption": True},
                needs_regions=True,
                recipe=BASELINE,
                needs_grounded_regions=True,
            ),
        ),
        paper_metrics=("f1",),
    ),
}

__all__ = ["SUITES"]
