"""What ``import engine`` offers to a notebook or a script; its examples are run as tests.

A configuration is a preset with overrides, checked as it is made:

>>> import engine
>>> config = engine.pretrain_config(
...     "quick",
...     {"data.limit": 100, "optim.epochs": 2, "optim.batch_size": 20, "moco.queue_size": 60,
...      "model.bn_splits": 2, "monitor.knn_k": 5, "runtime.threads": 1},
... )

A run is computed in this process, in a folder that app and commands show as well. ``progress`` is
called at every step. Ctrl+C stops with a checkpoint; ``resume`` goes on, also after a crash:

>>> work = engine.Workspace("runs")
>>> losses = []
>>> run = work.pretrain(
...     config, name="first", progress=lambda at: losses.append(at.values.get("train/loss"))
... )
>>> run.status
'finished'
>>> run.resume().status
'finished'

Its metrics are columns of NumPy, which ``pandas.DataFrame`` and ``polars.DataFrame`` take:

>>> table = run.metrics()
>>> list(table)[:6]
['step', 'epoch', 'time', 'train/loss', 'train/lr', 'train/epoch_loss']
>>> {"knn/top1", "online/top1", "contrast/top1", "embedding/rank"} <= table.keys()
True
>>> len(run.curve("train/epoch_loss")["value"])
2

Its encoder is a module of torch with the normalisation built in: images in, features out:

>>> import numpy as np
>>> encoder = run.encoder()
>>> features = encoder.features(np.zeros((7, 32, 32, 3), dtype=np.uint8))
>>> features.shape == (7, encoder.feature_dim), features.dtype
(True, dtype('float32'))

A probe says what the features are worth with few labels, beside its baselines:

>>> probe = work.probe(
...     run, {"label_fraction": 0.5, "head": "logistic", "baselines": ["random-init"],
...           "runtime.threads": 1},
... )
>>> [row["source"] for row in probe.rows()]
['pretrained', 'random-init']
>>> all(row["low"] <= row["top1"] <= row["high"] for row in probe.rows())
True

A study varies a setting over seeds, and answers with intervals:

>>> study = work.study(
...     "quick-study",
...     {"queue_sizes": [64], "seeds": [0], "tasks": ["ten"], "label_fractions": [0.5],
...      "baselines": ["random-init"], "pretrain.data.limit": 100, "pretrain.optim.epochs": 1,
...      "pretrain.optim.batch_size": 20, "pretrain.model.bn_splits": 2,
...      "pretrain.monitor.knn_every": 0, "pretrain.runtime.threads": 1,
...      "probe.runtime.threads": 1},
... )
>>> results = study.results()
>>> results.complete, [row["label"] for row in results.rows]
(True, ['K 64', 'random-init'])

The history is filtered as in the app, and a run is opened by its id, its name or its folder:

>>> [entry.title for entry in work.runs("kind:pretrain name:first")]
['first']
>>> work.open("first").id == engine.open_run(run.path).id == run.id
True

What goes wrong is one of ``engine.errors``, with a sentence:

>>> engine.pretrain_config("quick", {"moco.momentum": 2})
Traceback (most recent call last):
engine.errors.ConfigError: moco.momentum is 2; it must be a number of at least 0 and at most 1.
"""
