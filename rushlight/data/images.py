"""A folder of images as a data set, one folder for each class, decoded by Pillow."""

import os

import numpy

import rushlight
from rushlight.utils.data import Dataset

__all__ = ["ImageFolder"]

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


def _pillow():
    try:
        import PIL.Image
    except ImportError as error:
        raise ImportError(
            "rushlight.data.ImageFolder decodes by Pillow; install it with: pip install "
            "'rushlight[data]'"
        ) from error
    return PIL.Image


class ImageFolder(Dataset):
    """Images under `root/class/.../name.jpg`: sample i is (image, class number).

    size: (height, width) to resize to, by `resample` ("bilinear", "bicubic", "lanczos", "nearest"). A
    JPEG is decoded near that size already where it is much larger. mode: "RGB", "L", "RGBA", or None
    for the file's own. An image is a tensor (channels, height, width) of uint8, or with `dtype` a
    floating-point one in [0, 1]. transform: applied to that tensor; decode: instead of all this, called
    with the path. classes: folder names in their sorted order; class_to_idx, samples [(path, class)].
    """

    def __init__(
        self,
        root,
        *,
        size=None,
        mode="RGB",
        dtype=rushlight.uint8,
        resample="bilinear",
        transform=None,
        decode=None,
    ) -> None:
        self.root = os.fspath(root)
        self.classes = sorted(e.name for e in os.scandir(self.root) if e.is_dir())
        if not self.classes:
            raise FileNotFoundError(f"no folder in {self.root}: expected one for each class")
        self.class_to_idx = {name: k for k, name in enumerate(self.classes)}
        self.samples = [
            (os.path.join(folder, name), k)
            for k, kind in enumerate(self.classes)
            for folder, _, names in sorted(os.walk(os.path.join(self.root, kind), followlinks=True))
            for name in sorted(names)
            if name.lower().endswith(ENDINGS)
        ]
        if not self.samples:
            raise FileNotFoundError(f"no image in {self.root}: endings are {' '.join(ENDINGS)}")
        self.targets = [k for _, k in self.samples]
        self.size, self.mode, self.dtype = size, mode, dtype
        self.transform, self.decode = transform, decode
        self.resample = getattr(_pillow().Resampling, resample.upper())

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index):
        path, kind = self.samples[index]
        image = self._load(path) if self.decode is None else self.decode(path)
        return (image if self.transform is None else self.transform(image)), kind

    def _load(self, path):
        with _pillow().open(path) as image:
            if self.size is not None:
                height, width = self.size
                image.draft(self.mode, (width, height))
            if self.mode is not None and image.mode != self.mode:
                image = image.convert(self.mode)
            if self.size is not None:
                image = image.resize((width, height), self.resample)
            pixels = numpy.array(image)
        pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        tensor = rushlight.from_numpy(numpy.ascontiguousarray(pixels))
        return tensor if self.dtype == rushlight.uint8 else tensor.to(self.dtype) / 255
