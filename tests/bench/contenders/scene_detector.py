"""PySceneDetect's content detector on one video: scene_detector.py VIDEO THRESHOLD, JSON out."""

import json
import sys
import time

from scenedetect import ContentDetector, detect

wall, processor = time.monotonic(), time.process_time()
scenes = detect(sys.argv[1], ContentDetector(threshold=float(sys.argv[2])))
json.dump(
    {
        "changes": [start.seconds for start, _ in scenes[1:]],
        "wall": time.monotonic() - wall,
        "processor": time.process_time() - processor,
    },
    sys.stdout,
)
