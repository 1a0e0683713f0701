import ensurepip
import os
import runpy
import sys

ensurepip.bootstrap()
del os.environ["PIP_CONFIG_FILE"]  # ensurepip hides the machine's pip.conf
sys.argv = ["pip", "install", *(a for a in sys.argv[1:] if not a.startswith("--no-"))]
runpy.run_module("pip", run_name="__main__")
