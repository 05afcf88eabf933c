"""A network that trains in a blink."""

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock


class TinyResNet(nn.Module):
    """A ResNet-18 by the names of its parts, with eight channels everywhere."""

    def __init__(self, weights: None, num_classes: int) -> None:
        super().__init__()
        assert weights is None
        self.conv1 = nn.Conv2d(3, 8, 7, stride=4, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        for number in range(1, 5):
            blocks = (BasicBlock(8, 8), BasicBlock(8, 8))
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, num_classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures [N, 3, H, W] to logits [N, classes]."""
        for name, module in self.named_children():
            pictures = module(pictures.flatten(1) if name == "fc" else pictures)
        return pictures
