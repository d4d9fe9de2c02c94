"""The network device of a cluster that ended may go by itself while it is being removed."""

from pathlib import Path

import pytest

from devcluster.errors import DevclusterError
from devcluster.host import kernel
from devcluster.host.layout import Layout


class Device:
    """Stands for the kernel's list of devices: the device is there for so many looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def exists(self) -> bool:
        self.looks -= 1
        return self.looks >= 0


def refuse(command: list[str], *, timeout: float) -> str:
    raise DevclusterError("Cannot find device")


@pytest.mark.parametrize(("looks", "fails"), [(0, False), (1, False), (2, True)])
def test_a_device_that_goes_by_itself_is_gone_and_one_that_stays_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, looks: int, fails: bool
) -> None:
    device = Device(looks)
    monkeypatch.setattr(kernel, "Path", lambda *parts: device)
    monkeypatch.setattr(kernel, "run", refuse)
    if fails:
        with pytest.raises(DevclusterError):
            kernel.disconnect(Layout("c", tmp_path))
    else:
        kernel.disconnect(Layout("c", tmp_path))
