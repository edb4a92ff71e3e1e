"""What other libraries call a setting: an error for an unknown setting names the one that is meant."""

SYNONYMS: dict[str, tuple[str, ...]] = {
    "optim.lr": ("lr", "learning_rate", "encoder_lr", "base_lr", "max_lr"),
    "optim.head_lr": ("head_lr", "classifier_lr", "decoder_lr"),
    "optim.epochs": ("epochs", "num_epochs", "n_epochs", "max_epochs", "num_train_epochs", "n_iter"),
    "optim.updates": ("steps", "max_steps", "num_train_steps"),
    "optim.batch_size": (
        "batch",
        "batch_size",
        "bs",
        "train_batch_size",
        "per_device_train_batch_size",
        "mini_batch_size",
    ),
    "optim.batch_tokens": ("max_tokens", "tokens_per_batch"),
    "optim.optimizer": ("optimizer", "optimiser", "optim_name"),
    "optim.schedule": ("scheduler", "lr_scheduler", "lr_scheduler_type", "lr_schedule"),
    "optim.warmup": ("warmup_ratio", "warmup_fraction", "warmup_steps"),
    "optim.weight_decay": ("weight_decay", "l2"),
    "optim.clip": ("max_grad_norm", "grad_clip", "gradient_clip", "gradient_clip_val", "clip_grad_norm"),
    "optim.patience": ("patience", "early_stopping", "early_stopping_patience"),
    "optim.precision": ("precision", "fp16", "bf16", "amp", "mixed_precision", "dtype"),
    "optim.select": ("metric_for_best_model", "monitor"),
    "model.encoder.name": ("encoder", "embeddings", "backbone"),
    "model.encoder.path": (
        *("model_name", "model_name_or_path", "pretrained_model", "pretrained_model_name_or_path", "bert_model"),
        *("base_model", "checkpoint"),
    ),
    "model.encoder.dropout": ("dropout", "hidden_dropout_prob"),
    "model.head.name": ("head", "classifier", "decoder"),
    "model.head.decoding": ("use_crf", "viterbi"),
    "method.name": ("algorithm", "approach", "strategy", "cl_method"),
    "scenario.corpus.name": ("corpus", "dataset", "dataset_name", "data_format"),
    "scenario.corpus.path": ("data", "data_dir", "data_path", "data_folder", "dataset_path"),
    "scenario.corpus.train": ("train_file", "train_path", "train_data"),
    "scenario.corpus.dev": ("dev_file", "validation_file", "eval_file", "valid_file", "validation"),
    "scenario.corpus.test": ("test_file", "test_path", "test_data"),
    "scenario.corpus.dev_share": ("dev_size", "val_split", "validation_split", "validation_fraction"),
    "scenario.corpus.scheme": ("tag_scheme", "tagging_scheme", "encoding_scheme"),
    "scenario.protocol.name": ("protocol", "setting", "benchmark"),
    "scenario.protocol.first": ("nb_class_fg", "base_classes", "first_task_size"),
    "scenario.protocol.per_step": ("nb_class_pg", "classes_per_task", "increment", "n_classes_per_task"),
    "scenario.order": ("types", "labels", "label_list", "classes", "class_order", "entity_types"),
    "scenario.joint": ("joint", "multitask", "upper_bound"),
    "scenario.memory.size": ("memory", "memory_size", "mem_size", "buffer_size", "replay", "exemplars", "n_exemplars"),
    "compute.workers": ("workers", "num_workers", "num_gpus", "n_gpus", "gpus", "devices", "world_size"),
    "compute.gpus_per_worker": ("use_gpu", "gpu", "device", "cuda"),
    "compute.tracker": ("tracker", "logger", "report_to", "wandb", "tensorboard", "mlflow"),
    "eval.threshold": ("threshold", "min_confidence"),
    "eval.decoding": ("decoding",),
    "store": ("output_dir", "out_dir", "save_dir", "output", "log_dir"),
    "seed": ("random_seed", "random_state", "manual_seed"),
}
"""Setting -> the last part of its name elsewhere, and of its own name where people leave out the rest."""
_MEANT = {word: setting for setting, words in SYNONYMS.items() for word in words}


def synonym(word: str) -> str | None:
    """The setting that a word stands for.

    >>> synonym("learning-rate")
    'optim.lr'
    """
    return _MEANT.get(word.lower().replace("-", "_"))
