"""The experiments of TGDI's paper: the arguments of `mmre train`, and the figures that the paper prints.

The figures are per cent and were copied from the text of the tables. Figures that the paper only draws are left out.
Its Figures 1, 2 and 5 are drawings and examples, no experiments.
"""

from .suite import F1, Cell, Suite, varied

TGDI_SYSTEMS = (
    Cell("Glove + CNN", "cnn", {"pooling": "max"}, (57.81, 46.25, 51.39)),
    Cell("PCNN", "cnn", {"pooling": "piecewise"}, (62.85, 49.69, 55.49)),
    Cell("MTB", "mtb", {}, (64.46, 57.81, 60.86)),
    Cell("VisualBERT", "visualbert_mre", {}, (57.15, 59.48, 58.30)),
    Cell("BERT + SG", "bert_sg", {"use_attention": False}, (62.95, 62.65, 62.80)),
    Cell("BERT + SG + Att", "bert_sg", {"use_attention": True}, (60.97, 66.56, 63.64)),
    Cell("UMT", "umt", {}, (62.93, 63.88, 63.46)),
    Cell("UMGF", "umgf", {}, (64.38, 66.23, 65.29)),
    Cell("MEGA", "mega_mre", {}, (64.51, 68.44, 66.41)),
    Cell("IFAformer", "ifaformer", {}, (82.59, 80.78, 81.67)),
    Cell("HVPNeT", "hvpnet", {}, (83.64, 80.78, 81.85)),
    Cell("MKGformer", "mkgformer", {}, (82.67, 81.25, 81.95)),
    Cell("TGDI", "tgdi", {}, (84.18, 83.13, 83.65)),
)

TGDI_SUITES = {
    "tgdi_table1": Suite(
        title="statistics of the data set",
        source="TGDI, Table 1",
        statistics={"Image": 9201, "Sentence": 9201, "Instance": 15485, "Entity": 30970, "Relation": 23},
    ),
    "tgdi_table2": Suite(
        title="overall performance and ablations of TGDI",
        source="TGDI, Table 2",
        cells=(
            *TGDI_SYSTEMS,
            Cell("w/o caption", "tgdi", {"use_caption": False}, (83.86, 82.81, 83.33)),
            Cell("w/o TMMG", "tgdi", {"use_matching_gate": False}, (83.36, 83.75, 83.55)),
            Cell("w/o CMI", "tgdi", {"use_cross_modal_interaction": False}, (81.75, 81.87, 81.81)),
            Cell("w/o TOI", "tgdi", {"use_text_oriented_interaction": False}, (82.28, 81.25, 81.76)),
            Cell("w/o R", "tgdi", {"use_result_fusion": False}, (81.75, 81.88, 81.81)),
        ),
    ),
    "tgdi_table3": Suite(
        title="F1 by relation",
        source="TGDI, Table 3",
        cells=(Cell("HVPNeT", "hvpnet"), Cell("TGDI", "tgdi")),
        paper_metrics=("f1",),
        per_relation={
            "/per/per/peer": (88.96, 91.69),
            "/per/org/member_of": (80.33, 83.70),
            "/loc/loc/contain": (93.88, 96.55),
            "/per/misc/present_in": (75.00, 83.69),
            "/org/loc/locate_at": (85.06, 83.72),
            "/per/loc/place_of_residence": (63.16, 64.41),
        },
    ),
    "tgdi_fig3": Suite(
        title="accuracy of the systems of Table 2 (the paper draws its figures and prints none)",
        source="TGDI, Figure 3",
        cells=tuple(system._replace(paper=(), point=("accuracy", system.name)) for system in TGDI_SYSTEMS),
        paper_metrics=("accuracy",),
        axes=("", "test accuracy (%)"),
    ),
    "tgdi_fig4": Suite(
        title="a share of the training posts, the systems of Table 2 (the paper draws its figures and prints none)",
        source="TGDI, Figure 4",
        cells=varied(
            TGDI_SYSTEMS,
            dict.fromkeys((5, 10, 20, 30, 40, 50), [()] * len(TGDI_SYSTEMS)),
            lambda share: {"train_share": share / 100},
            label="{:g}%",
        ),
        paper_metrics=("f1",),
        axes=("training posts (%)", F1),
    ),
}

__all__ = ["TGDI_SUITES", "TGDI_SYSTEMS"]
