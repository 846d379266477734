"""LoRA: low-rank adapters in the encoder's linear layers."""

import warnings

from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import PreTrainedModel, set_seed

from finetune.base.errors import UserError
from finetune.base.params_training import Train


def with_adapters(model: PreTrainedModel, settings: Train):
    """Classifier with low-rank adapters (LoRA, Hu et al. 2021) in the encoder's linear layers; all of the head trains.

    Raises UserError if a name in `train.lora.targets` is no linear layer of this encoder.
    """
    base = model.base_model
    linear = [name for name, module in base.named_modules() if isinstance(module, nn.Linear)]
    layers = [name for name in linear if any(part.isdigit() for part in name.split("."))]
    targets = settings.lora.targets
    if targets is not None:
        known = sorted({name.split(".")[-1] for name in layers})
        missing = [target for target in targets if target not in known]
        if missing:
            raise UserError(
                f"train.lora.targets must name linear layers of this encoder, which are {', '.join(known)}; "
                f"found {', '.join(missing)}"
            )
        layers = [name for name in layers if name.split(".")[-1] in targets]
    head = [name for name, _ in model.named_children() if name != model.base_model_prefix]
    head += ["pooler"] if getattr(base, "pooler", None) is not None else []
    set_seed(settings.seed)
    config = LoraConfig(
        r=settings.lora.rank,
        lora_alpha=settings.lora.alpha,
        target_modules=[f"{model.base_model_prefix}.{name}" for name in layers],
        modules_to_save=[name for name in head if any(True for _ in named_child(model, name).parameters())],
        task_type="SEQ_CLS",
    )
    with warnings.catch_warnings():
        # peft uses a property of transformers by its old name.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        return get_peft_model(model, config)


def named_child(model: PreTrainedModel, name: str) -> nn.Module:
    """Module of the head by its name: a child of the classifier, or of its encoder."""
    return getattr(model, name, None) or getattr(model.base_model, name)
