"""Chromium, headless, by its own protocol (CDP over aiohttp): opens pages, presses keys, drags, and counts what pages ask for."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest


def found() -> str:
    """Chromium's path; skips where there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not path:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    return path


class Browser:
    """One tab. `requests`: every URL it asked for; `dialogs`: what alert() and its kin said; `faults`: what the console said of errors."""

    def __init__(self, folder: Path):
        command = [
            found(), "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", f"--user-data-dir={folder}",
            "--disable-background-networking", "--disable-component-update", "--no-first-run", "about:blank",
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        port = next(m[1] for line in self.process.stderr if (m := re.search(r"ws://127\.0\.0\.1:(\d+)/", line)))
        threading.Thread(target=lambda: [None for _ in self.process.stderr], daemon=True).start()
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        self.faults: list[str] = []
        self.answers: dict[int, asyncio.Future] = {}
        self.loaded = threading.Event()
        self.number = 0
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self._wait(self._open(port))
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def _wait(self, what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self.loop).result(240)

    async def _open(self, port: str) -> None:
        import aiohttp

        self.session = aiohttp.ClientSession()
        async with self.session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            page = next(each for each in await answer.json() if each["type"] == "page")
        self.socket = await self.session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0)
        self.reading = self.loop.create_task(self._read())

    async def _read(self) -> None:
        async for message in self.socket:
            said = json.loads(message.data)
            if "id" in said:
                self.answers.pop(said["id"]).set_result(said)
                continue
            given = said.get("params", {})
            if said["method"] == "Network.requestWillBeSent":
                self.requests.append(given["request"]["url"])
            elif said["method"] == "Page.loadEventFired":
                self.loaded.set()
            elif said["method"] == "Page.javascriptDialogOpening":
                self.dialogs.append(given["message"])
                self.loop.create_task(
                    self._send("Page.handleJavaScriptDialog", {"accept": True, "promptText": "odd, long"})
                )
            elif said["method"] == "Log.entryAdded" and given["entry"]["level"] == "error":
                self.faults.append(given["entry"]["text"])
            elif said["method"] == "Runtime.exceptionThrown":
                self.faults.append(str(given["exceptionDetails"].get("exception", given["exceptionDetails"])))

    async def _send(self, method: str, given: dict[str, Any]) -> dict[str, Any]:
        self.number += 1
        number = self.number
        self.answers[number] = self.loop.create_future()
        await self.socket.send_json({"id": number, "method": method, "params": given})
        return await self.answers[number]

    def call(self, method: str, **given: Any) -> dict[str, Any]:
        answer = self._wait(self._send(method, given))
        assert "error" not in answer, answer
        return answer["result"]

    def go(self, url: str) -> str:
        """Open a page; returns its text."""
        self.loaded.clear()
        self.call("Page.navigate", url=url)
        assert self.loaded.wait(240)
        return self.js("document.body.innerText")

    def js(self, code: str) -> Any:
        """A value of the page; promises are waited for."""
        answer = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, code: str) -> Any:
        """Wait until an expression holds, on this page or the one that is being opened."""
        for _ in range(3000):
            answer = self._wait(self._send("Runtime.evaluate", {"expression": code, "returnByValue": True})).get(
                "result", {}
            )
            if found := answer.get("result", {}).get("value"):
                return found
            time.sleep(0.05)
        raise AssertionError(f"never: {code}")

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, text=key if kind == "keyDown" and len(key) == 1 else ""
            )

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        for kind, (x, y) in (("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def size(self, width: int, height: int = 900) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def shot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        self._wait(self.session.close())
        self.process.terminate()
        self.process.wait()
