"""A part of one processor for a program: a control group with a CPU quota (Linux, both versions of cgroups; root)."""

import contextlib
import os
import pathlib

ROOTS = pathlib.Path("/sys/fs/cgroup/cpu"), pathlib.Path("/sys/fs/cgroup")
# A quota is at least 1,000 µs a period (the kernel's "CFS Bandwidth Control").
QUOTA_US = 1000


@contextlib.contextmanager
def group(part):
    """An empty control group whose programs together get `part` of a processor; it is removed when they have ended."""
    root = next((root for root in ROOTS if (root / "cgroup.procs").exists()), ROOTS[0])
    folder = root / f"loteria-bench-{os.getpid()}-{os.urandom(4).hex()}"
    period = round(QUOTA_US / part)
    folder.mkdir()
    try:
        if (folder / "cpu.cfs_quota_us").exists():
            (folder / "cpu.cfs_period_us").write_text(str(period))
            (folder / "cpu.cfs_quota_us").write_text(str(QUOTA_US))
        else:
            (folder / "cpu.max").write_text(f"{QUOTA_US} {period}")
        yield folder
    finally:
        folder.rmdir()


def enter(folder, process):
    """From here on the process has the group's quota."""
    (folder / "cgroup.procs").write_text(str(process.pid))


def missing():
    """Why no quota can be set here, in words; None: it can."""
    try:
        with group(0.5):
            return None
    except OSError as why:
        return f"no CPU quota can be set ({why}); it takes root and control groups"
