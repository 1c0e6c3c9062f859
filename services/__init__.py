"""paperwire: research-paper alerts. Open ports.py first: it names the three kinds of plugins and what they exchange."""

import os

# `import onnxruntime` writes a device id below the home directory and starts a thread that looks up a Microsoft host.
# `onnxruntime.disable_telemetry_events()` prevents neither. Every process imports this package before onnxruntime.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
