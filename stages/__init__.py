"""The six stages of dvc.yaml: each reads its inputs, calls `finetune`, writes its outputs."""

import finetune as finetune  # first, for what it does before the imports of a stage
