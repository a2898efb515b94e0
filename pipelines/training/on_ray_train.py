"""Training in workers of Ray Train's TorchTrainer, which run the same function as a process of torchrun."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

from tagcorpus.errors import TagcorpusError
from tagcorpus.pipelines.execution.on_ray import Cluster
from tagcorpus.pipelines.training.checkpoints import folder_of
from tagcorpus.pipelines.training.training_plan import TrainingPlan


def train(plan: TrainingPlan, workers: int, say: Callable[[str], None]) -> None:
    """Raises TagcorpusError with the message of the worker that failed. Paths of the plan are those of every node."""
    with Cluster(None, say) as cluster:
        from ray.train import RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        has_gpus = cluster.ray.cluster_resources().get("GPU", 0) >= workers
        storage = f"{os.path.abspath(folder_of(plan.output))}/ray"
        trainer = TorchTrainer(
            _in_worker,
            train_loop_config={"plan": plan, "folder": os.getcwd()},
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=has_gpus),
            run_config=RunConfig(name="train", storage_path=storage),
        )
        try:
            trainer.fit()
        except Exception as error:
            raise TagcorpusError(f"training on Ray failed: {_cause(error)}") from error
        finally:
            shutil.rmtree(storage, ignore_errors=True)


def _in_worker(settings: dict[str, Any]) -> None:
    from tagcorpus.pipelines.training.in_process import train_here

    os.chdir(settings["folder"])
    train_here(settings["plan"], print)


def _cause(error: BaseException) -> str:
    failures = getattr(error, "worker_failures", None)
    first: BaseException = next(iter(failures.values())) if failures else error.__cause__ or error
    return " ".join(str(first).strip().splitlines()[-1:])
