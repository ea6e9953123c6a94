"""Bring a checkpoint of the FocalMRE authors (best_model.pth) into this project's format.

OUT then loads with AutoModel and AutoProcessor, and
`mmre train CONFIG --model_name_or_path OUT --do_train false` measures it.
"""

HELP = "convert a checkpoint of the FocalMRE authors"


def add_arguments(parser) -> None:
    """Add the files of the checkpoint, the folder to write, and the encoders."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="The authors' best_model.pth.")
    parser.add_argument("relations", metavar="RELATIONS", help="Their ours_rel2id.json: the id of each relation.")
    parser.add_argument("out", metavar="OUT", help="The folder to write.")
    parser.add_argument(
        "--text_encoder",
        metavar="MODEL",
        default="google-bert/bert-base-uncased",
        help="The text encoder that the checkpoint was trained with, a name on the Hub or a folder.",
    )
    parser.add_argument(
        "--vision_encoder",
        metavar="MODEL",
        default="openai/clip-vit-base-patch32",
        help="The vision encoder that the checkpoint was trained with, a name on the Hub or a folder.",
    )


def run(args) -> int:
    """Convert one checkpoint."""
    from mmre.model_cards.convert_official_focalmre import convert

    convert(args.checkpoint, args.relations, args.out, args.text_encoder, args.vision_encoder)
    print(f"Written to {args.out}.")
    return 0
