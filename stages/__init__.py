"""The six stages of dvc.yaml: each reads its inputs, calls `finetune`, writes its outputs."""
