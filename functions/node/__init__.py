"""The program that runs `"use node"` modules in a real Node.js process (spec 03 5.6).

Written in JavaScript, without packages: `runner.mjs` is started by actors/node_process.py, which speaks with
it in frames (channel.mjs). This file only knows where it is and which Node.js it is for.
"""

from __future__ import annotations

from pathlib import Path

RUNNER = Path(__file__).parent / "runner.mjs"
NODE_MAJOR_VERSIONS = (20, 22, 24)
MODULE_PREFIX = "user/"
"""What the runner puts before a module's path in stack frames: `convex:/user/messages.js`."""
