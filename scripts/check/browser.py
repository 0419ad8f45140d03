#!/usr/bin/env python3
"""Opens a server's screen in Chromium without a window, and looks at it.

    browser.py URL PICTURE

Ends with 0 once the page says that it is connected and its canvas shows letters: many dark pixels and some bright
ones. The page as it was drawn then goes to PICTURE. The browser is spoken to by its own pipe (the DevTools protocol).
"""

import base64
import json
import os
import select
import subprocess
import sys
import tempfile
import time

WAIT_SECS = 60
LOOK_SECS = 0.5

# What the page says of itself, and how much of the screen is bright.
LOOK = """(() => {
    const status = (document.getElementById('status') || {}).textContent || '';
    const canvas = document.querySelector('canvas');
    if (!canvas || !canvas.width) return {status, pixels: 0, bright: 0};
    const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    let bright = 0;
    for (let at = 0; at < data.length; at += 4) {
        if (data[at] + data[at + 1] + data[at + 2] > 300) bright += 1;
    }
    return {status, pixels: data.length / 4, bright};
})()"""


class Browser:
    """One browser and its pipe."""

    def __init__(self, folder):
        (to_read, self.to), (self.out, out_write) = os.pipe(), os.pipe()

        def wire():
            # The browser reads what it is told from 3, and answers on 4.
            read, write = os.dup(to_read), os.dup(out_write)
            os.dup2(read, 3)
            os.dup2(write, 4)

        self.process = subprocess.Popen(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server",
             "--remote-debugging-pipe", f"--user-data-dir={folder}", "--window-size=1024,600", "about:blank"],
            close_fds=False, preexec_fn=wire, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(out_write)
        self.last, self.heard = 0, b""

    def ask(self, method, session=None, **params):
        """What a method answers."""
        self.last += 1
        message = {"id": self.last, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + WAIT_SECS
        while True:
            while b"\0" not in self.heard:
                ready, _, _ = select.select([self.out], [], [], max(0, until - time.monotonic()))
                piece = os.read(self.out, 1 << 20) if ready else b""
                if not piece:
                    sys.exit(f"browser: no answer to {method}")
                self.heard += piece
            line, self.heard = self.heard.split(b"\0", 1)
            answer = json.loads(line)
            if answer.get("id") == self.last:
                if "error" in answer:
                    sys.exit(f"browser: {method}: {answer['error']}")
                return answer["result"]

    def end(self):
        self.process.terminate()
        self.process.wait()


def main():
    url, picture = sys.argv[1:]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Browser(folder)
        try:
            target = browser.ask("Target.createTarget", url=url)["targetId"]
            session = browser.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            until, seen = time.monotonic() + WAIT_SECS, None
            while time.monotonic() < until:
                answer = browser.ask("Runtime.evaluate", session, expression=LOOK, returnByValue=True)
                seen = answer["result"].get("value") or {}
                shown = seen.get("bright", 0) > 200 and seen["bright"] * 2 < seen["pixels"]
                if seen.get("status", "").startswith("Connected") and shown:
                    break
                time.sleep(LOOK_SECS)
            drawn = browser.ask("Page.captureScreenshot", session, format="png")
            with open(picture, "wb") as file:
                file.write(base64.b64decode(drawn["data"]))
            if time.monotonic() >= until:
                sys.exit(f"browser: the screen is not shown: {seen}")
            print(f"browser: {seen['status']}: {seen['bright']} of {seen['pixels']} pixels are bright")
        finally:
            browser.end()


if __name__ == "__main__":
    main()
