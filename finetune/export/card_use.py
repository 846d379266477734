"""How the exported folder is used, in three ways, as the model card tells it."""

PIPELINE = """```python
from transformers import pipeline

classify = pipeline("text-classification", model="path/to/this/folder", truncation=True)
print(classify(["your text"]))
```"""

# Whole in itself, so that it can be copied: finetune/runtime/classifier.py is the same with batches.
STANDALONE = """```python
import json

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

texts = ["your text", "another one"]

session = onnxruntime.InferenceSession("MODEL", providers=["CPUExecutionProvider"])
facts = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.no_truncation()
tokenizer.no_padding()


def cut(ids):
    before, after = facts["special_tokens"]
    room = facts["max_length"] - before - after
    if len(ids) <= facts["max_length"]:
        return ids
    head = room if facts["truncation"] == "head" else room // 4
    end = len(ids) - after
    return ids[: before + head] + ids[end - (room - head) :]


rows = [cut(encoding.ids) for encoding in tokenizer.encode_batch(texts)]
longest = max(len(row) for row in rows)
input_ids = np.array([row + [facts["pad_id"]] * (longest - len(row)) for row in rows], np.int64)
attention_mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in rows], np.int64)
(probabilities,) = session.run(["probabilities"], {"input_ids": input_ids, "attention_mask": attention_mask})
for text, row in zip(texts, probabilities):
    print(facts["labels"][row.argmax()], round(float(row.max()), 4), text)
```"""

COMMANDS = """```sh
python -m finetune.predict --model path/to/this/folder "your text"
python -m finetune.serve --folder path/to/this/folder
```

and, while the server runs,

```sh
curl http://127.0.0.1:8000/predict -H "Content-Type: application/json" -d '{"text": "your text"}'
```"""


def three_ways(onnx_file: str, truncation: str) -> str:
    """The section's text; `onnx_file` is the one to load, named from the folder."""
    cut = (
        ""
        if truncation == "head"
        else "\nIt cuts a long text at its end; the model was trained on start and end, as the other two give it."
    )
    return f"""With `transformers`, in fp32. Its probabilities are not calibrated.{cut}

{PIPELINE}

Without torch and transformers: `pip install numpy onnxruntime tokenizers`, then in this folder. The probabilities are calibrated,
so they differ from those above. Leave blank texts out: they would get a label too.

{STANDALONE.replace("MODEL", onnx_file)}

From a checkout of the project that trained it, in its environment, as a command and as a server:

{COMMANDS}"""
