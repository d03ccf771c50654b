"""What setup.cfg cannot say: a wheel carries the C++ client's headers and CMake files, as jobd/cpp/."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CPP = ("include", "cmake")


class BuildWithHeaders(build_py):
    """An editable install needs no copy: jobctl finds cpp/ beside the package."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for part in CPP:
                target = Path(self.build_lib, "jobd", "cpp", part)
                shutil.copytree(Path("cpp", part), target, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithHeaders})
