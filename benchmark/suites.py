"""The experiments of both papers as data: the arguments of `mmre train`, and the figures that the papers print.

The figures are per cent and were copied from the text of the tables. Figures that a paper only draws are left out.
FocalMRE's Figures 1, 2 and 4 and TGDI's Figures 1, 2 and 5 are drawings and examples, no experiments.
"""

from typing import Any, NamedTuple


class Cell(NamedTuple):
    """One line of a table: a system, what is changed of its recipe, and what the paper reports.

    Args:
        name: as in the paper.
        model_type: the system.
        arguments: of `mmre train`, in place of the recipe's.
        paper: the paper's figures in per cent, in the order of the suite's `paper_metrics`; empty if it prints none.
        needs_regions: whether the cell means nothing without regions.
        point: where it stands in the plot, if there is one: the name of its line, and its place on the x axis.
        recipe: the shipped recipe on MNRE, if not the paper's, `MODEL_TYPE_mnre`.
        needs_grounded_regions: whether the cell means nothing with detected regions alone.
    """

    name: str
    model_type: str
    arguments: dict[str, Any] = {}  # noqa: RUF012, never changed
    paper: tuple[float, ...] = ()
    needs_regions: bool = False
    point: tuple[str, float | str] | None = None
    recipe: str | None = None
    needs_grounded_regions: bool = False


class Suite(NamedTuple):
    """A table or a figure.

    Args:
        title: the subject.
        source: where the paper has it; empty if no paper does.
        cells: its lines.
        paper_metrics: what the paper reports; the interval is of the last.
        per_relation: the paper's F1 by relation: a line for each relation, of the only cell.
        statistics: the paper's counts: a line for each, of the data; there is nothing to train.
        axes: labels of the plot's axes, if there is one.
    """

    title: str
    source: str = ""
    cells: tuple[Cell, ...] = ()
    paper_metrics: tuple[str, ...] = ("precision", "recall", "f1")
    per_relation: dict[str, float] | None = None
    statistics: dict[str, int] | None = None
    axes: tuple[str, str] | None = None


SHARE = "share (%)"
F1 = "test F1 (%)"
BASELINE = "text_only_mnre"  # MTB, trained as TGDI is: what the picture adds is the difference


def _noise(kind: str, argument: str, shares: dict[float, tuple[float, ...]], needs_regions: bool) -> tuple[Cell, ...]:
    return tuple(
        Cell(f"{kind} {100 * share:g}%", "focalmre", {argument: share}, paper, needs_regions, (kind, 100 * share))
        for share, paper in shares.items()
    )


SUITES = {
    "focalmre_table1": Suite(
        title="overall performance",
        source="FocalMRE, Table 1",
        cells=(Cell("FocalMRE", "focalmre", {}, (88.85, 87.19, 88.01)),),
    ),
    "focalmre_table2": Suite(
        title="challenge sets: pictures swapped between posts, regions replaced or deleted",
        source="FocalMRE, Table 2",
        cells=(
            *_noise(
                "Align-Noise",
                "align_noise",
                {
                    0.05: (77.10, 73.12, 75.06),
                    0.1: (76.34, 71.09, 73.62),
                    0.2: (71.80, 72.81, 72.30),
                    0.5: (63.74, 68.13, 65.86),
                    1.0: (66.21, 60.31, 63.12),
                },
                needs_regions=False,
            ),
            *_noise(
                "Aug-Noise",
                "aug_noise",
                {
                    0.1: (86.71, 83.59, 85.12),
                    0.3: (83.67, 78.44, 80.97),
                    0.5: (77.42, 75.00, 76.19),
                    1.0: (65.15, 69.53, 67.27),
                },
                needs_regions=True,
            ),
        ),
        axes=(SHARE, F1),
    ),
    "focalmre_table3": Suite(
        title="ablations of FocalMRE",
        source="FocalMRE, Table 3",
        cells=(
            Cell("FocalMRE", "focalmre", {}, (88.85, 87.19, 88.01)),
            Cell("w/o Focal Attention", "focalmre", {"use_focal_attention": False}, (86.03, 84.96, 85.35)),
            Cell("w/o Gating", "focalmre", {"use_gate": False}, (85.80, 85.94, 85.87)),
            Cell("w/o Either", "focalmre", {"use_focal_attention": False, "use_gate": False}, (84.91, 82.66, 83.77)),
        ),
    ),
    "focalmre_table4": Suite(
        title="F1 of FocalMRE by relation",
        source="FocalMRE, Table 4",
        cells=(Cell("FocalMRE", "focalmre"),),
        paper_metrics=("f1",),
        per_relation={
            "/per/per/peer": 93.54,
            "/per/org/member_of": 94.12,
            "/loc/loc/contain": 98.00,
            "/per/misc/present_in": 99.33,
            "/org/loc/locate_at": 83.72,
            "/per/loc/place_of_residence": 66.67,
            "/per/per/alternate_names": 72.73,
            "/per/per/couple": 77.42,
            "/misc/loc/held_on": 100.00,
            "/org/org/subsidiary": 58.06,
            "/misc/misc/part_of": 25.00,
            "/per/misc/nationality": 95.24,
            "/org/org/alternate_names": 31.58,
            "/per/loc/place_of_birth": 15.38,
            "/per/per/parent": 0.00,
            "/per/misc/awarded": 85.71,
            "/per/per/neighbor": 0.00,
            "/per/per/siblings": 0.00,
            "/per/per/charges": 0.00,
            "/per/misc/religion": 0.00,
        },
    ),
    "focalmre_table5": Suite(
        title="ways to show the picture",
        source="FocalMRE, Table 5",
        cells=(
            Cell("Original image", "focalmre", {"input_mode": "original"}, (64.52, 61.09, 62.76)),
            Cell("Focal regions cropped", "focalmre", {"input_mode": "cropped"}, (87.60, 86.09, 86.84), True),
            Cell("Focal augmented", "focalmre", {}, (88.85, 87.19, 88.01), True),
        ),
    ),
    "focalmre_fig3": Suite(
        title="numbers of focal regions: grounded (VG) and detected (OD)",
        source="FocalMRE, Figure 3",
        cells=tuple(
            Cell(
                f"{grounded} VG, {detected} OD",
                "focalmre",
                {"num_grounded_regions": grounded, "num_detected_regions": detected},
                needs_regions=True,
                point=(f"{detected} OD", grounded),
                needs_grounded_regions=grounded > 0,
            )
            for grounded in range(5)
            for detected in range(4)
        ),
        paper_metrics=("f1",),
        axes=("grounded regions (VG), at most", F1),
    ),
    "focalmre_table6": Suite(
        title="FocalMRE with a share of the training posts",
        source="FocalMRE, Table 6",
        cells=tuple(
            Cell(f"{100 * share:g}%", "focalmre", {"train_share": share}, paper, point=("FocalMRE", 100 * share))
            for share, paper in {
                0.05: (72.50, 71.25, 71.87),
                0.1: (82.91, 81.09, 81.99),
                0.2: (86.12, 84.38, 85.24),
                0.3: (85.51, 84.84, 85.18),
                0.4: (87.36, 86.41, 86.88),
                0.5: (87.68, 86.72, 87.20),
            }.items()
        ),
        axes=("training posts (%)", F1),
    ),
    "focalmre_table7": Suite(
        title="FocalMRE with K training posts of each relation",
        source="FocalMRE, Table 7",
        cells=tuple(
            Cell(f"K = {number}", "focalmre", {"samples_per_relation": number}, paper, point=("FocalMRE", number))
            for number, paper in {
                1: (13.60, 22.66, 17.00),
                2: (13.01, 31.09, 18.34),
                5: (29.54, 40.94, 34.32),
                10: (46.57, 45.62, 46.09),
            }.items()
        ),
        axes=("training posts of each relation (K)", F1),
    ),
    "tgdi_table1": Suite(
        title="statistics of the data set",
        source="TGDI, Table 1",
        statistics={"Image": 9201, "Sentence": 9201, "Instance": 15485, "Entity": 30970, "Relation": 23},
    ),
    "tgdi_table2": Suite(
        title="overall performance and ablations of TGDI",
        source="TGDI, Table 2",
        cells=(
            Cell("TGDI", "tgdi", {}, (84.18, 83.13, 83.65)),
            Cell("w/o caption", "tgdi", {"use_caption": False}, (83.86, 82.81, 83.33)),
            Cell("w/o TMMG", "tgdi", {"use_matching_gate": False}, (83.36, 83.75, 83.55)),
            Cell("w/o CMI", "tgdi", {"use_cross_modal_interaction": False}, (81.75, 81.87, 81.81)),
            Cell("w/o TOI", "tgdi", {"use_text_oriented_interaction": False}, (82.28, 81.25, 81.76)),
            Cell("w/o R", "tgdi", {"use_result_fusion": False}, (81.75, 81.88, 81.81)),
        ),
    ),
    "tgdi_table3": Suite(
        title="F1 of TGDI by relation",
        source="TGDI, Table 3",
        cells=(Cell("TGDI", "tgdi"),),
        paper_metrics=("f1",),
        per_relation={
            "/per/per/peer": 91.69,
            "/per/org/member_of": 83.70,
            "/loc/loc/contain": 96.55,
            "/per/misc/present_in": 83.69,
            "/org/loc/locate_at": 83.72,
            "/per/loc/place_of_residence": 64.41,
        },
    ),
    "tgdi_fig3": Suite(
        title="accuracy of the systems here (the paper compares other systems, and draws its figures only)",
        source="TGDI, Figure 3",
        cells=(
            Cell("text only", "mtb", point=("accuracy", "text only"), recipe=BASELINE),
            Cell("FocalMRE", "focalmre", point=("accuracy", "FocalMRE")),
            Cell("TGDI", "tgdi", point=("accuracy", "TGDI")),
        ),
        paper_metrics=("accuracy",),
        axes=("", "test accuracy (%)"),
    ),
    "tgdi_fig4": Suite(
        title="TGDI with a share of the training posts",
        source="TGDI, Figure 4",
        cells=tuple(
            Cell(f"{100 * share:g}%", "tgdi", {"train_share": share}, point=("TGDI", 100 * share))
            for share in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
        ),
        paper_metrics=("f1",),
        axes=("training posts (%)", F1),
    ),
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

__all__ = ["SUITES", "Cell", "Suite"]
