"""The benchmark's own instances: files with X, y and G."""

from pathlib import Path

from benchmark_utils.instances import load
from benchopt import BaseDataset

FOLDER = Path(__file__).resolve().parents[4].parent / "shared" / "bench"


class Dataset(BaseDataset):
    """``folder/file.npz``; another folder: -d "npz[folder=DIR,file=a]"."""

    name = "npz"
    parameters = {"file": ["a", "b", "c", "d"], "folder": [str(FOLDER)]}  # noqa: RUF012 - benchopt's way

    def get_data(self):
        return {"instance": load(Path(self.folder), self.file)}
