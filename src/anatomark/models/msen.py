"""M-SEN: standard planes and the sonographer's attention, learnt together and against a discriminator."""

import logging
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from anatomark.losses import AttentionLoss, adversarial_loss, attention_loss, check_attention_loss, discriminator_loss
from anatomark.models.base import BaseModel, MapOutput, OptimizerFactory, SchedulerFactory
from anatomark.models.scores import ClassScores, MapScores
from anatomark.models.targets import attention_target, require_labels
from anatomark.nets.msen import Discriminator, Generator, GeneratorOutput
from anatomark.types import AnatomarkError, Batch

log = logging.getLogger(__name__)


class MSENModel(BaseModel):
    """The multi-task SonoEyeNet (Cai et al. 2018).

    The generator is trained alone for some epochs, then alternates with the discriminator, a step each per batch. The
    epoch alone tells the phase, so a run that is continued goes on in the phase it was in.

    Args:
        net: the generator.
        discriminator: tells real attention maps from generated ones.
        optimizer: makes the optimiser of the generator.
        discriminator_optimizer: makes that of the discriminator; None for the same maker.
        pretrain_epochs: epochs before the adversarial phase.
        sigma_px: standard deviation of a fixation's Gaussian, px of the network's input.
        saliency_loss: "bce" or "mse", see :func:`~anatomark.losses.attention_loss`.
        saliency_weight: lambda_1 at the start of pre-training and from its end on, linear in the epoch between.
        class_weight: lambda_2.
        adversarial_weight: lambda_3, of which the paper says nothing; 0 for no adversarial phase.
        real_target: what the discriminator should say of a real map (one-sided label smoothing).
        scheduler: makes the schedule of the generator's learning rate over pre-training, stepped once per epoch.
        adversarial_lr: the generator's learning rate in the adversarial phase; None for the one it has by then.

    Raises:
        AnatomarkError: a number makes no sense.
    """

    def __init__(
        self,
        *,
        net: Generator,
        discriminator: Discriminator,
        optimizer: OptimizerFactory,
        discriminator_optimizer: OptimizerFactory | None = None,
        pretrain_epochs: int = 30,
        sigma_px: float = 30.0,
        saliency_loss: AttentionLoss = "bce",
        saliency_weight: Sequence[float] = (2.0, 1.0),
        class_weight: float = 1.0,
        adversarial_weight: float = 0.1,
        real_target: float = 0.9,
        scheduler: SchedulerFactory | None = None,
        adversarial_lr: float | None = None,
    ) -> None:
        super().__init__(optimizer=optimizer, scheduler=scheduler)
        if pretrain_epochs < 0:
            raise AnatomarkError(f"model.pretrain_epochs is {pretrain_epochs}; it must be 0 (none) or more")
        if len(saliency_weight) != 2:
            raise AnatomarkError(
                f"model.saliency_weight is {list(saliency_weight)}; give two numbers, those at the start and at the end"
                " of pre-training"
            )
        if not adversarial_weight >= 0:
            raise AnatomarkError(f"model.adversarial_weight is {adversarial_weight}; it must be 0 (no phase) or more")
        if not 0 < real_target <= 1:
            raise AnatomarkError(f"model.real_target is {real_target}, no probability of a real map; make it 0.9 or 1")
        check_attention_loss(saliency_loss)
        self.automatic_optimization = False
        self.net = net
        self.stride = net.stride
        self.discriminator = discriminator
        self._make_discriminator_optimizer = discriminator_optimizer or optimizer
        self.pretrain_epochs = pretrain_epochs
        self.sigma_px = sigma_px
        self.saliency_loss = saliency_loss
        self.saliency_weights = saliency_weight
        self.class_weight = class_weight
        self.adversarial_weight = adversarial_weight
        self.real_target = real_target
        self.adversarial_lr = adversarial_lr
        self.class_scores = ClassScores(n_classes=net.n_classes)
        self.map_scores = MapScores()

    def configure_optimizers(self) -> Any:
        generator = self._make_optimizer(self.net.parameters())
        discriminator = self._make_discriminator_optimizer(self.discriminator.parameters())
        schedules = [] if self._make_scheduler is None else [self._make_scheduler(generator)]
        return [generator, discriminator], schedules

    def on_fit_start(self) -> None:
        epochs = self.trainer.max_epochs or -1
        if self.adversarial_weight > 0 and 0 < epochs <= self.pretrain_epochs and self.trainer.is_global_zero:
            log.warning(
                "all %d epochs are pre-training (model.pretrain_epochs=%d): no map meets the discriminator, and a row"
                " named + GAN would be wrong; give more epochs",
                epochs,
                self.pretrain_epochs,
            )

    def on_train_epoch_start(self) -> None:
        if self.adversarial and self.adversarial_lr is not None:
            generator, _ = cast(list[LightningOptimizer], self.optimizers())
            for group in generator.param_groups:
                group["lr"] = self.adversarial_lr

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        # Under manual optimisation Lightning saves and restores schedules, but steps none. After the epoch's last batch
        # is before its checkpoint.
        schedule = cast(LRScheduler | None, self.lr_schedulers())
        if schedule is not None and self.trainer.is_last_batch and self.current_epoch + 1 < self.pretrain_epochs:
            schedule.step()

    @property
    def adversarial(self) -> bool:
        """Whether the adversarial phase has begun."""
        return self.adversarial_weight > 0 and self.current_epoch >= self.pretrain_epochs

    @property
    def saliency_weight(self) -> float:
        """Lambda_1 in this epoch."""
        first, last = self.saliency_weights
        done = min(self.current_epoch / self.pretrain_epochs, 1.0) if self.pretrain_epochs else 1.0
        return first + (last - first) * done

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        generator, discriminator = cast(list[LightningOptimizer], self.optimizers())
        real = attention_target(batch, sigma=self.sigma_px, stride=self.stride)
        output = self.net(batch["image"])
        losses = self._losses(output, real, batch)
        total = self.saliency_weight * losses["saliency"] + self.class_weight * losses["class"]
        if self.adversarial:
            losses["discriminator"] = self._discriminator_loss(output, real, batch)
            self._step(discriminator, losses["discriminator"])
        # Toggled, the discriminator is frozen: its loss reaches the generator only.
        self.toggle_optimizer(generator)
        if self.adversarial:
            losses["adversarial"] = self._adversarial_loss(output, batch)
            total = total + self.adversarial_weight * losses["adversarial"]
        self._step(generator, total)
        self.untoggle_optimizer(generator)
        self._log_losses("train", total, losses, batch)

    def forward(self, image: Float[Tensor, "b 1 height width"]) -> MapOutput:
        logits, attention, features = self.net(image)
        return MapOutput(maps=attention.float().sigmoid()[:, None], features=features, logits=logits.float())

    def _step(self, optimizer: LightningOptimizer | Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    def _losses(self, output: GeneratorOutput, real: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {
            "saliency": attention_loss(output.attention, real, batch["has_gaze"], kind=self.saliency_loss),
            "class": F.cross_entropy(output.logits.float(), require_labels(batch)),
        }

    def _discriminator_loss(self, output: GeneratorOutput, real: Tensor, batch: Batch) -> Tensor:
        fake = output.attention.detach().float().sigmoid()
        logits = self.discriminator(batch["image"].repeat(2, 1, 1, 1), torch.cat([real, fake]))
        of_real, of_fake = logits.chunk(2)
        return discriminator_loss(of_real, of_fake, batch["has_gaze"], real_target=self.real_target)

    def _adversarial_loss(self, output: GeneratorOutput, batch: Batch) -> Tensor:
        self.discriminator.eval()
        logits = self.discriminator(batch["image"], output.attention.float().sigmoid())
        self.discriminator.train()
        return adversarial_loss(logits, batch["has_gaze"])

    def score(self, stage: str, batch: Batch) -> None:
        output = self.net(batch["image"])
        target = attention_target(batch, sigma=self.sigma_px, stride=1)
        losses = self._losses(output, F.avg_pool2d(target, self.stride), batch)
        total = self.saliency_weights[1] * losses["saliency"] + self.class_weight * losses["class"]
        self._log_losses(stage, total, losses, batch)
        self.class_scores.update(stage, output.logits, require_labels(batch))
        self.map_scores.update(stage, output.attention.float().sigmoid(), target, batch)

    def scores_of(self, stage: str) -> dict[str, Tensor]:
        return self.class_scores.compute(stage) | self.map_scores.compute(stage)

    def _log_losses(self, stage: str, total: Tensor, losses: dict[str, Tensor], batch: Batch) -> None:
        named = {"loss": total} | {f"{name}_loss": loss for name, loss in losses.items()}
        self.log_dict(
            {f"{stage}/{name}": loss.detach() for name, loss in named.items()},
            on_step=False,
            on_epoch=True,
            batch_size=len(batch["image"]),
            sync_dist=True,
        )
