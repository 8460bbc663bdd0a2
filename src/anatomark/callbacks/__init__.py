"""Lightning callbacks."""

from anatomark.callbacks.checkpoints import PhaseCheckpoint as PhaseCheckpoint
from anatomark.callbacks.checkpoints import RunCheckpoint as RunCheckpoint
from anatomark.callbacks.clean_batch_norm import CleanBatchNorm as CleanBatchNorm
from anatomark.callbacks.compiling import CompileNet as CompileNet
from anatomark.callbacks.map_images import MapImages as MapImages
from anatomark.callbacks.training_state import MetricRows as MetricRows
from anatomark.callbacks.training_state import RandomState as RandomState
