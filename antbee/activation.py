"""Which parts of a picture speak for which label: class activation maps.

Zhou et al. 2016, "Learning Deep Features for Discriminative Localization" (arXiv:1512.04150),
section 2: the network's last features, weighted as its last layer weighs their means. No gradients,
so every runtime can do it. NumPy only.
"""

import numpy as np

from antbee.artifact import HEAD, PackedModel
from antbee.errors import ModelError
from antbee.predictor import Floats


def load_head(model: PackedModel) -> Floats | None:
    """Read the last layer's weights, float32 [classes, channels]; None where none were packed.

    Raises:
        ModelError: the file is missing or damaged, or is not what its name says.
    """
    if HEAD not in model.files:
        return None
    path = model.path(HEAD)
    try:
        head = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ModelError(f"{path} is not an array: pack the model again") from error
    if head.ndim != 2 or len(head) != len(model.labels) or head.dtype != np.float32:  # noqa: PLR2004
        raise ModelError(f"{path} does not fit the model's labels: pack the model again")
    return np.asarray(head, np.float32)


def activation_maps(features: Floats, head: Floats) -> Floats:
    """Weigh one picture's features by every label's weights.

    Args:
        features: float32 [channels, h, w].
        head: float32 [classes, channels].

    Returns:
        float32 [classes, h, w]. The mean of a label's map is its logit, less the last layer's bias.
    """
    return np.tensordot(head, features, axes=1)


def strength(maps: Floats, label: int) -> Floats:
    """How strongly each part speaks for a label: float32 [h, w], 0 to 1.

    1 is the strongest that anything in this picture speaks for any label, so the maps of two labels
    can be compared, and a label that hardly anything speaks for has a faint map. What speaks
    against the label is 0.

    Args:
        maps: float32 [classes, h, w].
        label: its index.
    """
    strongest = max(float(maps.max()), np.finfo(np.float32).tiny)
    return np.asarray(maps[label].clip(0) / strongest, np.float32)
