"""Programs that publish and load models in a process of their own, for tests of publishing and of adapters."""

POST = {"text": "Rafael Nadal weds Mery Perello in South Wales", "head": [0, 12], "tail": [18, 30]}

# Someone else's process: nothing of this project can be imported, all code comes from the repository.
WITHOUT_MMRE = """
import json, sys
sys.modules["mmre"] = None
import torch
from PIL import Image
from transformers import AutoConfig, AutoModel, AutoProcessor, pipeline

repo, post, arguments = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
image = Image.new("RGB", (64, 48), "gray")
config = AutoConfig.from_pretrained(repo, trust_remote_code=True, **arguments)
model = AutoModel.from_pretrained(repo, trust_remote_code=True, **arguments).eval()
processor = AutoProcessor.from_pretrained(repo, trust_remote_code=True, **arguments)
assert type(config).__module__.startswith("transformers_modules")
with torch.no_grad():
    logits = model(**processor(images=image, **post)).logits[0].tolist()
scores = None
if sys.argv[4] == "pipeline":
    extract = pipeline("multimodal-relation-extraction", model=repo, trust_remote_code=True, device="cpu", **arguments)
    scores = {row["label"]: row["score"] for row in extract(post | {"image": image}, top_k=len(logits))}
    nameless = pipeline(model=repo, trust_remote_code=True, device="cpu", **arguments)
    assert type(nameless).__name__ == "RelationExtractionPipeline"
print(json.dumps({"logits": logits, "scores": scores}))
"""

# A process in which mmre is installed: its classes load the repository, none of whose code is run.
WITH_MMRE = """
import json, sys
import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor, pipeline
import mmre.modeling, mmre.processing

repo, post = sys.argv[1], json.loads(sys.argv[2])
image = Image.new("RGB", (64, 48), "gray")
model, processor = AutoModel.from_pretrained(repo).eval(), AutoProcessor.from_pretrained(repo)
with torch.no_grad():
    logits = model(**processor(images=image, **post)).logits[0].tolist()
extract = pipeline("multimodal-relation-extraction", model=repo, device="cpu")
scores = {row["label"]: row["score"] for row in extract(post | {"image": image}, top_k=len(logits))}
assert not any(name.startswith("transformers_modules.") for name in sys.modules)
print(json.dumps({"logits": logits, "scores": scores}))
"""

PUBLISH = """
import sys
from mmre.model_cards.publishing import publish
print(publish(sys.argv[1], sys.argv[2], private=sys.argv[3] == "private", revision=sys.argv[4] or None).oid)
"""

# `mmre predict` with a repository.
PREDICT = """
import json, sys
from PIL import Image
from mmre.inference.arguments import PredictionArguments
from mmre.inference.run import open_pipeline

extract = open_pipeline(sys.argv[1], PredictionArguments(out="triples.jsonl"))
results = extract(json.loads(sys.argv[2]) | {"image": Image.new("RGB", (64, 48), "gray")}, top_k=100)
print(json.dumps({row["label"]: row["score"] for row in results}))
"""


def last_line(output: str) -> str:
    return output.strip().splitlines()[-1]
