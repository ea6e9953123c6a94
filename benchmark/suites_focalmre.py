"""The experiments of FocalMRE's paper: the arguments of `mmre train`, and the figures that the paper prints.

The figures are per cent and were copied from the text of the tables. Figures that the paper only draws are left out.
Its Figures 1, 2 and 4 are drawings and examples, no experiments.
"""

from .suite import F1, PROMPT, Cell, Suite, varied

VILBERT = Cell("ViL-BERT", "vilbert")
HVPNET = Cell("HVPNeT", "hvpnet")
MKGFORMER = Cell("MKGformer", "mkgformer")
FOCALMRE = Cell("FocalMRE", "focalmre")
LOW_RESOURCE = (VILBERT, HVPNET, MKGFORMER, FOCALMRE)

FOCALMRE_SYSTEMS = (
    Cell("PCNN", "cnn", {"pooling": "piecewise"}, (62.85, 49.69, 55.49)),
    Cell("MTB", "mtb", {}, (66.00, 61.56, 63.70)),
    Cell("Llama2-13B", PROMPT, {}, (5.44, 5.01, 5.21)),
    Cell("baichuan-13B-Chat", PROMPT, {}, (2.93, 6.79, 4.09)),
    Cell("ChatGLM3-6B", PROMPT, {}, (8.82, 9.21, 9.01)),
    Cell("Qwen-14B-Chat", PROMPT, {}, (11.68, 11.15, 11.40)),
    Cell("Qwen-VL-Chat", PROMPT, {}, (11.42, 13.09, 12.20)),
    # These are TGDI's figures of BERT+SG, which has others for BERT+SG+Att.
    Cell("BERT+SG+Att", "bert_sg", {"use_attention": True}, (62.95, 62.65, 62.80)),
    Cell("MEGA", "mega_mre", {}, (64.51, 68.44, 66.41)),
    Cell("UMT", "umt", {}, (62.93, 63.88, 63.46)),
    Cell("UMGF", "umgf", {}, (64.38, 66.23, 65.29)),
    VILBERT._replace(paper=(65.78, 61.88, 63.77)),
    Cell("VisualBERT", "visualbert_mre", {}, (64.63, 61.09, 62.81)),
    HVPNET._replace(paper=(86.95, 83.28, 85.08)),
    MKGFORMER._replace(paper=(86.26, 84.38, 85.31)),
    FOCALMRE._replace(paper=(88.85, 87.19, 88.01)),
)

FOCALMRE_SUITES = {
    "focalmre_table1": Suite(title="overall performance", source="FocalMRE, Table 1", cells=FOCALMRE_SYSTEMS),
    "focalmre_table2": Suite(
        title="challenge sets: pictures swapped between posts, regions replaced or deleted",
        source="FocalMRE, Table 2",
        cells=(
            *varied(
                (MKGFORMER, FOCALMRE),
                {
                    5: ((71.34, 74.69, 72.98), (77.10, 73.12, 75.06)),
                    10: ((74.41, 69.53, 71.89), (76.34, 71.09, 73.62)),
                    20: ((70.97, 72.19, 71.57), (71.80, 72.81, 72.30)),
                    50: ((65.21, 65.31, 65.26), (63.74, 68.13, 65.86)),
                    100: ((62.95, 62.66, 62.80), (66.21, 60.31, 63.12)),
                },
                lambda share: {"align_noise": share / 100},
                label="{:g}%",
                kind="Align-Noise",
            ),
            *varied(
                (MKGFORMER, FOCALMRE),
                {
                    10: ((83.49, 82.19, 82.83), (86.71, 83.59, 85.12)),
                    30: ((79.02, 75.94, 77.45), (83.67, 78.44, 80.97)),
                    50: ((76.90, 71.25, 73.97), (77.42, 75.00, 76.19)),
                    100: ((70.45, 64.06, 67.10), (65.15, 69.53, 67.27)),
                },
                lambda share: {"aug_noise": share / 100},
                label="{:g}%",
                kind="Aug-Noise",
                needs_regions=True,
            ),
        ),
        axes=("share (%)", F1),
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
        title="F1 by relation",
        source="FocalMRE, Table 4",
        cells=(MKGFORMER, FOCALMRE),
        paper_metrics=("f1",),
        per_relation={
            "/per/per/peer": (88.82, 93.54),
            "/per/org/member_of": (88.70, 94.12),
            "/loc/loc/contain": (97.98, 98.00),
            "/per/misc/present_in": (96.05, 99.33),
            "/org/loc/locate_at": (86.05, 83.72),
            "/per/loc/place_of_residence": (78.12, 66.67),
            "/per/per/alternate_names": (54.55, 72.73),
            "/per/per/couple": (50.00, 77.42),
            "/misc/loc/held_on": (100.00, 100.00),
            "/org/org/subsidiary": (62.86, 58.06),
            "/misc/misc/part_of": (0.00, 25.00),
            "/per/misc/nationality": (95.24, 95.24),
            "/org/org/alternate_names": (0.00, 31.58),
            "/per/loc/place_of_birth": (0.00, 15.38),
            "/per/per/parent": (0.00, 0.00),
            "/per/misc/awarded": (0.00, 85.71),
            "/per/per/neighbor": (0.00, 0.00),
            "/per/per/siblings": (0.00, 0.00),
            "/per/per/charges": (0.00, 0.00),
            "/per/misc/religion": (0.00, 0.00),
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
        title="a share of the training posts",
        source="FocalMRE, Table 6",
        cells=varied(
            LOW_RESOURCE,
            {
                5: ((33.40, 49.06, 39.75), (63.68, 60.00, 61.79), (58.80, 56.73, 57.75), (72.50, 71.25, 71.87)),
                10: ((61.26, 50.16, 55.15), (80.74, 78.59, 79.65), (64.54, 63.12, 63.82), (82.91, 81.09, 81.99)),
                20: ((61.14, 55.31, 58.08), (84.83, 81.25, 83.00), (83.07, 81.25, 82.15), (86.12, 84.38, 85.24)),
                30: ((65.36, 54.84, 59.64), (84.43, 82.19, 83.29), (84.50, 82.66, 83.57), (85.51, 84.84, 85.18)),
                40: ((61.34, 62.97, 62.14), (85.83, 83.28, 84.54), (84.52, 83.59, 84.05), (87.36, 86.41, 86.88)),
                50: ((65.77, 60.94, 63.26), (85.76, 83.75, 84.74), (85.58, 84.38, 84.97), (87.68, 86.72, 87.20)),
            },
            lambda share: {"train_share": share / 100},
            label="{:g}%",
        ),
        axes=("training posts (%)", F1),
    ),
    "focalmre_table7": Suite(
        title="K training posts of each relation",
        source="FocalMRE, Table 7",
        cells=varied(
            LOW_RESOURCE,
            {
                1: ((4.16, 8.91, 5.67), (9.37, 21.25, 13.00), (8.80, 22.19, 12.60), (13.60, 22.66, 17.00)),
                2: ((7.93, 19.53, 11.28), (10.39, 25.62, 14.79), (10.35, 21.25, 13.92), (13.01, 31.09, 18.34)),
                5: ((11.03, 27.50, 15.75), (16.46, 40.31, 23.38), (21.29, 41.25, 28.09), (29.54, 40.94, 34.32)),
                10: ((15.93, 38.28, 22.50), (22.47, 50.62, 31.12), (38.18, 53.75, 44.65), (46.57, 45.62, 46.09)),
            },
            lambda number: {"samples_per_relation": number},
            label="K = {:g}",
        ),
        axes=("training posts of each relation (K)", F1),
    ),
}

__all__ = ["FOCALMRE_SUITES", "FOCALMRE_SYSTEMS"]
