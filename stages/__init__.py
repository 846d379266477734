"""The seven stages of dvc.yaml: each reads its inputs, calls `finetune`, writes its outputs."""

from finetune.base.parent import end_with_parent

end_with_parent()  # before a stage imports its libraries, which takes seconds
