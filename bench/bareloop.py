"""Running a bare loop under the meter."""
import json
import os
import subprocess

from measure import Failed, Meter, per_10k


class BareDrain:
    """The program prints its line and then looks through its rows; the meter stops in between."""

    def __init__(self, words, groups):
        self.name = os.path.basename(words[0])
        meter = Meter(groups)
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            self.line = process.stdout.readline()
            self.used = meter.stop(loop=process.pid)
            _, said = process.communicate()
        if process.returncode or not self.line:
            raise Failed(f"{self.name}: {said.strip()}")

    def result(self, jobs):
        said = json.loads(self.line)
        if said["jobs"] != jobs or said["failed"]:
            raise Failed(f"{self.name}: {said['jobs']} of {jobs} jobs, {said['failed']} failed")
        return {"rate": said["rate"], "cpu_per_10k": per_10k(self.used["cpu"], jobs), "others": self.used["others"]}
